package failure

// State is a code's state.
type State int

// The states, in order.
const (
	Absent   State = iota // the request has no such code
	Unsent                // WeChat has not seen it
	Sent                  // WeChat may have seen it, so it may be spent
	Accepted              // WeChat has accepted it, so it is spent
)

// Progress says how far a request has got with WeChat.
type Progress struct {
	LoginCode State
	PhoneCode State
}

func never(Progress) bool { return false }

func loginAccepted(p Progress) bool { return p.LoginCode == Accepted }

func phoneCodeSent(p Progress) bool { return p.PhoneCode >= Sent }

func anyCodeSent(p Progress) bool { return p.LoginCode >= Sent || p.PhoneCode >= Sent }

// startAgain returns the action that gets new codes from the user.
func (p Progress) startAgain() Action {
	if p.PhoneCode == Absent {
		return Login
	}
	return Tap
}

// used says, for a message, which code has been used.
func (p Progress) used() string {
	switch {
	case loginAccepted(p):
		return "the login code has been used"
	case p.PhoneCode == Absent:
		return "the login code has not been used"
	}
	return "no code has been used"
}
