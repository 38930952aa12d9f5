package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// format is how a command prints.
type format string

const (
	formatHuman format = ""
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

// Set takes the value of an -o flag.
func (f *format) Set(value string) error {
	switch format(value) {
	case formatHuman, formatWide, formatJSON, formatYAML:
		*f = format(value)
		return nil
	}
	return fmt.Errorf("%q is not one of json, yaml and wide", value)
}

// String and Type complete pflag's Value.
func (f *format) String() string { return string(*f) }

// Type is how help names the flag's value.
func (f *format) Type() string { return "format" }

// printObject prints v for machines. It reports false when the format is one
// for people, and prints nothing.
func printObject(w io.Writer, f format, v any) (bool, error) {
	var (
		text []byte
		err  error
	)
	switch f {
	case formatJSON:
		text, err = json.MarshalIndent(v, "", "  ")
		text = append(text, '\n')
	case formatYAML:
		text, err = yaml.Marshal(v)
	default:
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("cannot print: %w", err)
	}
	_, err = w.Write(text)
	return true, err
}

// table prints rows under a header, in columns, as kubectl does.
func table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// age prints how long ago something was.
func age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(then))
}
