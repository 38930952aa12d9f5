package prometheus

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/config"
)

func TestParseHTTPConfig(t *testing.T) {
	const secret = "s3cr3t-value"
	cases := map[string]struct {
		reason string
		raw    string
		err    string
	}{
		"Empty":      {reason: "no configuration is a good one"},
		"Basic":      {reason: "a password inline", raw: "basic_auth: {username: weir, password: " + secret + "}"},
		"Bearer":     {reason: "a token inline", raw: "authorization: {credentials: " + secret + "}"},
		"OldBearer":  {reason: "in the old form too", raw: "bearer_token: " + secret},
		"OAuth2":     {reason: "a client secret inline", raw: "oauth2: {client_id: weir, client_secret: " + secret + ", token_url: https://id.example/token}"},
		"TLS":        {reason: "certificates are checked when they are used", raw: "tls_config: {ca: x, server_name: p}"},
		"Headers":    {reason: "a header names the tenant of a shared server", raw: "http_headers: {X-Scope-OrgID: {values: [a]}, X-Token: {secrets: [" + secret + "]}}"},
		"BasicFile":  {reason: "paths would read the controller's own files", raw: "basic_auth: {username: a, password_file: /var/run/secrets/kubernetes.io/serviceaccount/token}", err: "basic_auth.password_file is not allowed"},
		"BearerFile": {reason: "in every place", raw: "bearer_token_file: /x", err: "authorization.credentials_file is not allowed"},
		"CAFile":     {reason: "also where no secret is", raw: "tls_config: {ca_file: /x}", err: "tls_config.ca_file is not allowed"},
		"Nested":     {reason: "also deep inside", raw: "oauth2: {client_id: a, client_secret: b, token_url: u, tls_config: {key_file: /x, cert: c}}", err: "oauth2.tls_config.key_file is not allowed"},
		"HeaderFile": {reason: "also in maps", raw: "http_headers: {X-A: {files: [/x]}}", err: "files is not allowed"},
		"Reference":  {reason: "there is no store of secrets to refer to", raw: "tls_config: {ca_ref: x}", err: "tls_config.ca_ref is not allowed"},
		"Proxy":      {reason: "a proxy would connect in the guard's place", raw: "proxy_url: http://proxy:3128", err: "proxy_url is not allowed"},
		"ProxyEnv":   {reason: "nothing ambient is used", raw: "proxy_from_environment: true", err: "proxy_from_environment is not allowed"},
		"OAuthProxy": {reason: "nor by the token client", raw: "oauth2: {client_id: a, client_secret: b, token_url: u, proxy_url: http://p}", err: "oauth2.proxy_url is not allowed"},
		"Two":        {reason: "the library's own rules", raw: "bearer_token: " + secret + "\nbasic_auth: {username: a}", err: "at most one of basic_auth, oauth2, bearer_token"},
		"Unknown":    {reason: "a typing error is named", raw: "basic_auth:\n  usrname: " + secret, err: "line 2: there is no field usrname"},
		"WrongType":  {reason: "a value is not shown", raw: "basic_auth: " + secret, err: "line 1"},
		"NotYAML":    {reason: "nor is what is not YAML", raw: secret + ": [", err: "is not a valid HTTP client configuration"},
		"Scalar":     {reason: "nor a Secret that holds just the token", raw: secret, err: "line 1"},
		"URL":        {reason: "nor an address, which may hold a password", raw: "proxy_url: 'http://a:" + secret + "@[::1'", err: "one of its values is not valid"},
		"Version":    {reason: "nor any other value", raw: "tls_config: {min_version: " + secret + "}", err: "one of its values is not valid"},
		"Alias":      {reason: "nor the name of an anchor", raw: "bearer_token: *" + secret, err: "it is not YAML"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parseHTTPConfig([]byte(tc.raw))
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.err)
			case err != nil && strings.Contains(err.Error(), secret):
				t.Errorf("%s: the error shows a value: %v", tc.reason, err)
			}
		})
	}
}

// TestEveryPathIsRefused walks over the types of the library, so that a field
// which a new version adds is looked at, whatever it is called.
func TestEveryPathIsRefused(t *testing.T) {
	harmless := map[string]bool{".FollowRedirects": true} // No redirect is followed whatever it says.
	all := probes(reflect.TypeFor[config.HTTPClientConfig](), "")
	if len(all) < 20 {
		t.Errorf("only %d fields found: the walk misses some", len(all))
	}
	for _, p := range all {
		if forbidden(p.value, "") == "" && !harmless[p.field] {
			t.Errorf("%s points elsewhere and is not refused", p.field)
		}
	}
}

// probe is a value in which one field is set that may point elsewhere.
type probe struct {
	field string
	value reflect.Value
}

// suspicious names point elsewhere, perhaps.
var suspicious = regexp.MustCompile(`(?i)(file|ref|dir|path|proxy)`)

// probes of a type, one for each suspicious field in it at any depth.
func probes(typ reflect.Type, path string) []probe {
	var all []probe
	switch typ.Kind() {
	case reflect.Pointer:
		for _, p := range probes(typ.Elem(), path) {
			pointer := reflect.New(typ.Elem())
			pointer.Elem().Set(p.value)
			all = append(all, probe{p.field, pointer})
		}
	case reflect.Map:
		for _, p := range probes(typ.Elem(), path) {
			m := reflect.MakeMap(typ)
			m.SetMapIndex(reflect.ValueOf("k").Convert(typ.Key()), p.value)
			all = append(all, probe{p.field, m})
		}
	case reflect.Struct:
		for i := range typ.NumField() {
			field := typ.Field(i)
			at := path + "." + field.Name
			inner := []probe{}
			switch {
			case !field.IsExported():
			case !field.Anonymous && suspicious.MatchString(field.Name):
				inner = append(inner, probe{at, filled(field.Type)})
			default:
				inner = probes(field.Type, at)
			}
			for _, p := range inner {
				whole := reflect.New(typ).Elem()
				whole.Field(i).Set(p.value)
				all = append(all, probe{p.field, whole})
			}
		}
	default: // A plain value has no fields.
	}
	return all
}

// filled is a value of a type that is not zero.
func filled(typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.String:
		v.SetString("/x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(typ, 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		v.SetMapIndex(reflect.ValueOf("k").Convert(typ.Key()), reflect.Zero(typ.Elem()))
	case reflect.Pointer:
		v.Set(reflect.New(typ.Elem()))
	case reflect.Struct:
		for i := range typ.NumField() {
			if f := v.Field(i); f.CanSet() {
				f.Set(filled(f.Type()))
			}
		}
	default:
		panic(fmt.Sprintf("no value for %s", typ))
	}
	return v
}

// FuzzHTTPConfig: whatever the Secret holds, the error shows no long piece of it.
func FuzzHTTPConfig(f *testing.F) {
	f.Add([]byte("basic_auth: {username: a, password: b}"))
	f.Add([]byte("tls_config:\n  ca_file: /x"))
	f.Add([]byte("bearer_token: !!int s3cr3t-s3cr3t"))
	known := regexp.MustCompile(`^config\.yaml(: \S+ is not allowed| is not a valid HTTP client configuration: (line \d+(: there is no field [a-z0-9_]{1,40})?$|it is not YAML$|one of its values is not valid$|[A-Za-z0-9_,& -]+$))`)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := parseHTTPConfig(raw); err != nil && !known.MatchString(err.Error()) {
			t.Errorf("an error of an unknown form: %v", err)
		}
	})
}
