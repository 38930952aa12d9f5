package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/charts"
	"github.com/weir-dev/weir/cmd/weir/cli/lint"
)

// fileFinding is a finding with the file that it was found in.
type fileFinding struct {
	File string `json:"file"`
	lint.Finding
}

// lintCommand checks manifests without a cluster.
func (s *session) lintCommand() *cobra.Command {
	var (
		files []string
		out   format
	)
	c := &cobra.Command{
		Use:   "lint -f FILE|DIR|-",
		Short: "Check manifests of Weir's kinds without a cluster",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse(cmd, fmt.Errorf("%q is an argument: name files by -f", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out = cmd.OutOrStdout()
			if len(files) == 0 {
				return misuse(cmd, errors.New("-f is missing: name a file, a folder, or - for standard input"))
			}
			findings, checked, err := lintAll(cmd.Context(), files, cmd.InOrStdin())
			if err != nil {
				return err
			}
			return s.printFindings(findings, checked, out)
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "a file, a folder with .yaml, .yml and .json files, or - for standard input; may be repeated")
	c.Flags().VarP(&out, "output", "o", "json or yaml")
	return c
}

func (s *session) printFindings(findings []fileFinding, checked int, out format) error {
	if findings == nil {
		findings = []fileFinding{} // an empty list for machines, not null
	}
	done, err := printObject(s.out, out, findings)
	if !done {
		for _, f := range findings {
			if err := s.say("%s: %s: %s: %s\n", f.File, f.Object, f.Field, f.Message); err != nil {
				return err
			}
		}
		err = s.say("%s checked, %s\n", count(checked, "object of Weir", "objects of Weir"), count(len(findings), "finding", "findings"))
	}
	if err != nil {
		return err
	}
	if checked == 0 {
		return errors.New("no object of weir.dev was found: does -f name the right files?")
	}
	if len(findings) > 0 {
		return &ExitCodeError{Code: ExitFailed, Err: errors.New(count(len(findings), "finding", "findings"))}
	}
	return nil
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lintAll checks the objects of all files.
func lintAll(ctx context.Context, paths []string, stdin io.Reader) (findings []fileFinding, checked int, err error) {
	crds, err := fs.Sub(charts.FS, charts.CRDDir)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open the CRDs: %w", err)
	}
	linter, err := lint.New(crds)
	if err != nil {
		return nil, 0, err
	}
	names, err := manifests(paths)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		found, n, err := lintOne(ctx, linter, name, stdin)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
		}
		checked += n
		for _, f := range found {
			findings = append(findings, fileFinding{File: name, Finding: f})
		}
	}
	return findings, checked, nil
}

func lintOne(ctx context.Context, linter *lint.Linter, name string, stdin io.Reader) (findings []lint.Finding, checked int, err error) {
	if name == "-" {
		return linter.Documents(ctx, stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	findings, checked, err = linter.Documents(ctx, file)
	if err != nil && filepath.Base(filepath.Dir(name)) == "templates" {
		err = fmt.Errorf("%w; it looks like a template of a Helm chart: pipe 'helm template ...' into 'kubectl weir lint -f -'", err)
	}
	return findings, checked, errors.Join(err, file.Close())
}

// manifests are the files that paths name: each file, and the manifests in each
// folder below it.
func manifests(paths []string) ([]string, error) {
	var names []string
	for _, path := range paths {
		if path == "-" {
			names = append(names, path)
			continue
		}
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && (name == path || isManifest(name)) {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cannot find manifests at -f %s: %w", path, err)
		}
	}
	return names, nil
}

func isManifest(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
