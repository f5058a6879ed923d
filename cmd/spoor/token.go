package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/access"
	"spoor/internal/intel"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke tokens of accounts",
		Long: `A token is how a program or a person asks. It belongs to an account, which has a plan and a daily quota. A running server takes
changes up at once; tokens are kept as hashes only.

Exit codes: 0 done; 1 failure; 2 misuse; 3 some of the tokens to revoke were not there.`,
		Example: `  spoor token create --account alice
  spoor token list
  spoor token revoke 1f2e3d4c5b6a`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate(), newTokenList(), newTokenRevoke())
	return cmd
}

func newTokenCreate() *cobra.Command {
	var data, account, plan, expires, clearance, clientCert string
	var quota uint64
	var scopes []string
	var replace, asJSON bool
	cmd := &cobra.Command{
		Use:   "create --account NAME [flags]",
		Short: "Make a token and print it alone",
		Long: `Create makes a token for an account, and the account when there is none of that name, and prints the token, which cannot be had
again. Plan, quota and clearance, when given, become the account's, for all its tokens.

Exit codes: 0 done; 1 failure; 2 misuse.`,
		Example: `  spoor token create --account soar --plan commercial --quota 50000 --expires 365d
  spoor token create --account collector --scope ingest
  TOKEN=$(spoor token create --account alice --replace)`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if account == "" {
				return misuse("say whose token: --account NAME")
			}
			n := access.NewToken{Account: account, Plan: access.Plan(plan), Replace: replace}
			for _, s := range scopes {
				n.Scopes = append(n.Scopes, access.Scope(s))
			}
			var err error
			if n.Lifetime, err = parseLifetime(expires); err != nil {
				return &exitError{exitMisuse, err}
			}
			if cmd.Flags().Changed("quota") {
				n.Quota = &quota
			}
			if cmd.Flags().Changed("clearance") {
				n.Clearance = new(intel.Marking)
				if err := n.Clearance.UnmarshalText([]byte(clearance)); err != nil {
					return &exitError{exitMisuse, fmt.Errorf("--clearance: %w", err)}
				}
			}
			if clientCert != "" {
				if n.Certificate, err = fingerprint(clientCert); err != nil {
					return err
				}
			}
			a, err := access.Open(data, nil)
			if err != nil {
				return err
			}
			secret, t, err := a.Create(n)
			if err != nil {
				return invalidIsMisuse(err)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(struct {
					Token   string    `json:"token"`
					ID      string    `json:"id"`
					Account string    `json:"account"`
					Expires time.Time `json:"expires"`
				}{secret, t.ID, t.Account, t.Expires})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
	dataFlag(cmd, &data)
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "`NAME` of the account")
	f.StringVar(&plan, "plan", "", "the `PLAN`, commercial or trial (commercial for a new account)")
	f.Uint64Var(&quota, "quota", 0, "`N` look-ups a day, UTC (a new account: 1000000, on trial 1000)")
	f.StringVar(&expires, "expires", "365d", "how long the token lives, a `TIME` as 90d or 12h; at most 365d")
	f.StringSliceVar(&scopes, "scope", []string{"lookup"}, "what the token may do, `SCOPES`: lookup, submit (files to be inspected), ingest (observations), admin")
	f.StringVar(&clearance, "clearance", "red", "the strictest TLP `MARKING` that the account may see: clear, green, amber, amber+strict, red")
	f.StringVar(&clientCert, "client-cert", "", "bind the token to the TLS client certificate in `FILE` (PEM)")
	f.BoolVar(&replace, "replace", false, "revoke the account's other tokens")
	f.BoolVar(&asJSON, "json", false, "print the token with its id, account and end as JSON")
	_ = cmd.MarkFlagFilename("client-cert")
	complete(cmd, "plan", string(access.Commercial), string(access.Trial))
	completeList(cmd, "scope", string(access.Lookup), string(access.Submit), string(access.Ingest), string(access.Admin))
	complete(cmd, "clearance", markings...)
	return cmd
}

// invalidIsMisuse turns what the command line got wrong into misuse.
func invalidIsMisuse(err error) error {
	if errors.Is(err, intel.ErrInvalid) {
		return &exitError{exitMisuse, fmt.Errorf("--%w", err)}
	}
	return err
}

// parseLifetime reads "365d" or a duration like "12h".
func parseLifetime(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("--expires: %q is no length of time; give one like 90d or 12h", s)
	}
	return d, nil
}

// fingerprint returns the SHA-256 of a certificate file's first certificate.
func fingerprint(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the client's certificate: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", misuse("--client-cert: %s holds no PEM certificate", file)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}

func newTokenList() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List accounts and tokens, without their secrets",
		Long: `List prints every token with its ID, account, plan, quota, scopes and end. The secrets themselves are not kept.

Exit codes: 0 done; 1 failure; 2 misuse.`,
		Example: `  spoor token list
  spoor token list --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mustHold(data); err != nil {
				return err
			}
			a, err := access.Open(data, nil)
			if err != nil {
				return err
			}
			accounts, tokens, err := a.List()
			if err != nil {
				return err
			}
			type row struct {
				ID        string         `json:"id"`
				Account   string         `json:"account"`
				Plan      access.Plan    `json:"plan"`
				Quota     uint64         `json:"quota"`
				Clearance intel.Marking  `json:"clearance"`
				Scopes    []access.Scope `json:"scopes"`
				Created   time.Time      `json:"created"`
				Expires   time.Time      `json:"expires"`
				Bound     bool           `json:"bound_to_certificate"`
			}
			rows := make([]row, len(tokens))
			for i, t := range tokens {
				rows[i] = row{ID: t.ID, Account: t.Account, Scopes: t.Scopes, Created: t.Created, Expires: t.Expires, Bound: t.Certificate != ""}
				for _, acc := range accounts {
					if acc.Name == t.Account {
						rows[i].Plan, rows[i].Quota, rows[i].Clearance = acc.Plan, acc.Quota, acc.Clearance
					}
				}
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(rows)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tACCOUNT\tPLAN\tQUOTA\tSCOPES\tEXPIRES")
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", r.ID, r.Account, r.Plan, r.Quota, strings.Trim(fmt.Sprint(r.Scopes), "[]"), r.Expires.Format("2006-01-02"))
			}
			return w.Flush()
		},
	}
	dataFlag(cmd, &data)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newTokenRevoke() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "revoke [flags] ID…",
		Short: "End tokens by their IDs",
		Long: `Revoke ends tokens by their IDs, as 'spoor token list' prints them. A running server refuses them within a second. An ID that is not
there is named on standard error, and the others are ended all the same.

Exit codes: 0 all ended; 3 some were not there; 2 misuse; 1 failure.`,
		Example: `  spoor token revoke 1f2e3d4c5b6a`,
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := mustHold(data); err != nil {
				return err
			}
			a, err := access.Open(data, nil)
			if err != nil {
				return err
			}
			missing := false
			for _, id := range ids {
				switch err := a.Revoke(id); {
				case errors.Is(err, intel.ErrUnknown):
					fmt.Fprintf(cmd.ErrOrStderr(), "spoor: there is no token %q\n", id)
					missing = true
				case err != nil:
					return err
				}
			}
			if missing {
				return &exitError{exitPartly, nil}
			}
			return nil
		},
	}
	dataFlag(cmd, &data)
	return cmd
}
