package decide

// Decide says what to record and to do, given what was observed. It is pure:
// equal inputs give equal decisions, and the input is not changed.
func Decide(in Input) Decision {
	return Decision{Waiting: Waiting{Reason: WaitNothing}}
}
