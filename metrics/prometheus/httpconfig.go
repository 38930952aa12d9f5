package prometheus

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/prometheus/common/config"
)

// ConfigKey is the key of the Secret that holds the HTTP client configuration.
const ConfigKey = "config.yaml"

// parseHTTPConfig reads the HTTP client configuration of Prometheus from the
// bytes of a Secret. Empty means defaults.
//
// Nothing in it may point elsewhere: a path would read a file of the
// controller's own pod, a reference is to a store that there is none of, and a
// proxy would connect in the place of the guard that checks addresses. Errors
// name fields and lines, never values.
func parseHTTPConfig(raw []byte) (config.HTTPClientConfig, error) {
	if len(raw) == 0 {
		return config.DefaultHTTPClientConfig, nil
	}
	parsed, err := config.LoadHTTPConfig(string(raw))
	if err != nil {
		return config.HTTPClientConfig{}, fmt.Errorf("%s is not a valid HTTP client configuration: %w", ConfigKey, redact(err))
	}
	if field := forbidden(reflect.ValueOf(*parsed), ""); field != "" {
		return config.HTTPClientConfig{}, fmt.Errorf(
			"%s: %s is not allowed: write the value itself into the Secret (files, references and proxies are not used)", ConfigKey, field)
	}
	return *parsed, nil
}

// elsewhere are the names of fields that point to something outside the Secret.
var elsewhere = regexp.MustCompile(`^(.*_file|.*_ref|files|proxy_.*|no_proxy)$`)

// forbidden is the path of the first field that is set and points elsewhere,
// empty when there is none. It goes by the names in the YAML, so that fields
// which a later version of the library adds are refused too.
func forbidden(v reflect.Value, path string) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return forbidden(v.Elem(), path)
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			if field := forbidden(entry.Value(), join(path, fmt.Sprint(entry.Key()))); field != "" {
				return field
			}
		}
	case reflect.Struct:
		return forbiddenIn(v, path)
	default: // A plain value, which its field has judged.
	}
	return ""
}

// forbiddenIn is forbidden for the fields of a struct.
func forbiddenIn(v reflect.Value, path string) string {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || v.Field(i).IsZero() {
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		at := join(path, name)
		if options == "inline" {
			at = path
		}
		if elsewhere.MatchString(name) {
			return at
		}
		if found := forbidden(v.Field(i), at); found != "" {
			return found
		}
	}
	return ""
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var (
	yamlLine  = regexp.MustCompile(`line \d+`)
	yamlField = regexp.MustCompile(`field ([a-z0-9_]{1,40}) not found`)
	// rule is what the validation says of fields, in words alone.
	rule = regexp.MustCompile(`^[A-Za-z0-9_,& -]+$`)
)

// redact takes the values out of an error of the decoder, which shows what it
// could not read and so perhaps a secret.
func redact(err error) error {
	text := err.Error()
	line, field := yamlLine.FindString(text), yamlField.FindStringSubmatch(text)
	switch {
	case line != "" && field != nil:
		return fmt.Errorf("%s: there is no field %s", line, field[1])
	case line != "":
		return errors.New(line)
	case strings.HasPrefix(text, "yaml:"):
		return errors.New("it is not YAML")
	case rule.MatchString(text):
		return err
	}
	return errors.New("one of its values is not valid")
}
