package mtlspop

var reasons = [...]string{
	ErrNoCertificate:  "certificate_missing",
	ErrPeerNotTrusted: "certificate_peer_not_trusted",
	ErrMismatch:       "certificate_mismatch",
	ErrThumbprint:     "certificate_thumbprint",
	ErrMalformed:      "certificate_malformed",
	ErrExpired:        "certificate_expired",
	ErrUntrusted:      "certificate_untrusted",
	ErrRevoked:        "certificate_revoked",
	ErrUnparsable:     "certificate_unparsable",
}

// Reason is the stable name of the refusal, for logs and metrics:
// "certificate_mismatch". It is part of the API. It is "" for a value that is not a
// kind, and it is not meant for the client.
func (e BindingError) Reason() string {
	if int(e) >= len(reasons) {
		return ""
	}
	return reasons[e]
}
