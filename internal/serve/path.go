package serve

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxTarget is the longest request target, path and query, in bytes.
const maxTarget = 8 << 10

// plainPath makes the path of a request to the API plain, as clients join it to their base address: empty elements, a slash at the end
// above all, are passed over. The mux would redirect instead, with a text that no client of an API reads. It fails with [ErrTooLong], or
// with [ErrNotFound] for . and .. elements. Other requests stay as they are.
//
// What follows /api/url/ is a URL of its own and is kept to the byte, whether its slashes are escaped or not.
func plainPath(r *http.Request) error {
	if len(r.RequestURI) > maxTarget {
		return fmt.Errorf("the path and query are %w: %d bytes, at most %d", ErrTooLong, len(r.RequestURI), maxTarget)
	}
	path := r.URL.EscapedPath()
	rest, ok := strings.CutPrefix("/"+strings.TrimLeft(path, "/"), "/api")
	if !ok || rest != "" && rest[0] != '/' {
		return nil
	}
	kept := ""
	if i := strings.Index(rest, "/url/"); i >= 0 && strings.Trim(rest[:i], "/") == "" {
		rest, kept = rest[:i+len("/url")], "/"+strings.ReplaceAll(rest[i+len("/url/"):], "/", "%2F")
	}
	plain := "/api"
	for element := range strings.SplitSeq(rest, "/") {
		switch element {
		case "":
		case ".", "..":
			return fmt.Errorf("%w: the path holds %q", ErrNotFound, element)
		default:
			plain += "/" + element
		}
	}
	if kept == "/." || kept == "/.." {
		return fmt.Errorf("%w: the path holds %q", ErrNotFound, kept[1:])
	}
	if plain += kept; plain == path {
		return nil
	}
	u, err := url.ParseRequestURI(plain)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	u.RawQuery = r.URL.RawQuery
	r.URL = u
	return nil
}
