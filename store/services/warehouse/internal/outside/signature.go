package outside

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far a signature's time may be from ours.
const Tolerance = 5 * time.Minute

// Verify checks "t=<unix>,v1=<hex hmac-sha256 of t.body>". Several v1 may stand
// there while a secret is being changed. Without a secret nothing is accepted.
func Verify(secret, header string, body []byte, now time.Time) error {
	if secret == "" {
		return errors.New("no secret is set here, so no signature can be right")
	}
	var stamp string
	var signatures []string
	for _, part := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			stamp = value
		case "v1":
			signatures = append(signatures, value)
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || len(signatures) == 0 {
		return errors.New("the signature is not of the form t=<unix>,v1=<hex>")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > Tolerance || age < -Tolerance {
		return errors.New("the signature's time is too far from now")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	for _, signature := range signatures {
		if got, err := hex.DecodeString(signature); err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("the signature is wrong")
}
