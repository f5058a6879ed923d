package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// SessionLifetime is how long a signed-in browser stays so.
const SessionLifetime = 12 * time.Hour

// Session returns a cookie value that stands for the identity's token until it ends: token hash, end and a signature over both.
// The token's hash is no secret that lets anybody in: only the signature does.
func (a *Access) Session(i *Identity) string {
	ends := a.now().Add(SessionLifetime)
	if i.Token.Expires.Before(ends) {
		ends = i.Token.Expires
	}
	body := i.Token.Hash + "." + strconv.FormatInt(ends.Unix(), 10)
	return body + "." + a.sign(body)
}

func (a *Access) sign(body string) string {
	mac := hmac.New(sha256.New, a.current.Load().Session)
	mac.Write([]byte("session\x00" + body))
	return hex.EncodeToString(mac.Sum(nil))
}

// CheckSession returns who a cookie value stands for. It fails with [ErrCredential] when it was not made by Session, has ended, or
// its token has been revoked.
func (a *Access) CheckSession(cookie, certificate string) (*Identity, error) {
	i := strings.LastIndexByte(cookie, '.')
	if i < 0 || len(cookie) > 512 || len(a.current.Load().Session) == 0 {
		return nil, ErrCredential
	}
	body, mac := cookie[:i], cookie[i+1:]
	if !hmac.Equal([]byte(mac), []byte(a.sign(body))) {
		return nil, ErrCredential
	}
	name, end, _ := strings.Cut(body, ".")
	var hash [32]byte
	if n, err := hex.Decode(hash[:], []byte(name[:min(len(name), 64)])); err != nil || n != len(hash) {
		return nil, ErrCredential
	}
	if ends, err := strconv.ParseInt(end, 10, 64); err != nil || a.now().Unix() >= ends {
		return nil, ErrCredential
	}
	return a.find(hash, "", certificate)
}
