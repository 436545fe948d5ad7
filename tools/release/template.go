package main

import (
	"fmt"
	"regexp"
	"strings"
)

// fixTemplate returns the template of a release: for one architecture, with a zip instead
// of the source.
func fixTemplate(text, version, arch, zip string) (string, error) {
	for _, edit := range []struct{ once, with string }{
		{`(?m)^(Description: >-\n(?:  .*\n)+)`, "${1}  Release " + version + ".\n"},
		{`\bArchitecture, `, ""},                             // in the console's form
		{`(?m)^      Architecture: \{ default: .*\n`, ""},    // its label there
		{`(?m)^  Architecture:\n(?:    .*\n)+`, ""},          // the parameter
		{`(?m)^(?:      #.*\n)*      BuildMethod: .*\n`, ""}, // with the comment on it
		{`\bCodeUri: \.\n`, "CodeUri: " + zip + "\n"},
	} {
		pattern := regexp.MustCompile(edit.once)
		if got := len(pattern.FindAllString(text, -1)); got != 1 {
			return "", fmt.Errorf("template.yaml matches %s %d times, not once", edit.once, got)
		}
		text = pattern.ReplaceAllString(text, edit.with)
	}
	text = strings.NewReplacer("!Ref Architecture\n", arch+"\n", "!Ref Architecture]", arch+"]",
		"${Architecture}", arch).Replace(text)
	if left := regexp.MustCompile(`.*\bArchitecture\b.*`).FindString(text); left != "" {
		return "", fmt.Errorf("the release's template still has Architecture: %s", left)
	}
	return text, nil
}

// section returns a version's section of the changelog, with its heading.
func section(changelog, version string) (string, error) {
	heading := regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(version) + `$`).FindStringIndex(changelog)
	if heading == nil {
		return "", fmt.Errorf("CHANGELOG.md has no section %q", "## "+version)
	}
	text, _, _ := strings.Cut(changelog[heading[0]:], "\n## ")
	return strings.TrimSpace(text) + "\n", nil
}
