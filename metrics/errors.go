package metrics

import "fmt"

// Failure says in a word why there are no usable data. It is the reason of a
// verdict NoData.
type Failure string

// Why there are no usable data.
const (
	// SourceUnavailable: no answer in time, or one that cannot be understood.
	SourceUnavailable Failure = "SourceUnavailable"
	// StaleData: an answer, but its newest samples are from long ago.
	StaleData Failure = "StaleData"
	// NoSeries: an answer without any value.
	NoSeries Failure = "NoSeries"
	// SeveralSeries: several values where one is needed.
	SeveralSeries Failure = "SeveralSeries"
	// NotANumber: a value that is NaN or infinite.
	NotANumber Failure = "NotANumber"
	// BadQuery: a query that cannot be parsed or computed.
	BadQuery Failure = "BadQuery"
	// AnswerTooLarge: an answer beyond the limit of its size.
	AnswerTooLarge Failure = "AnswerTooLarge"
)

// Error is why a source gave no data. Its text is for people and bounded: it
// holds no secret, no body of an answer and no header.
type Error struct {
	Failure Failure
	// Message says what was asked and what came, with the remedy where there is
	// one.
	Message string
	// Err is the cause, nil where the answer itself is at fault.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return fmt.Sprintf("%s: %v", e.Message, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }
