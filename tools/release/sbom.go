package main

import (
	"debug/buildinfo"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strings"
)

// modules are the versions of the modules that are linked into a release's programs, by
// path. The standard library is among them.
type modules map[string]string

// add adds the modules of programs, as the linker has recorded them.
func (m *modules) add(programs []string) error {
	if *m == nil {
		*m = modules{}
	}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		(*m)["stdlib"] = strings.TrimPrefix(info.GoVersion, "go")
		for _, module := range info.Deps {
			if module.Replace != nil {
				return fmt.Errorf("%s: %s is replaced, so its version says nothing", program, module.Path)
			}
			(*m)[module.Path] = module.Version
		}
	}
	return nil
}

// component is a part of a CycloneDX bill of materials.
//
// https://cyclonedx.org/docs/1.6/json/
type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	URL     string `json:"purl,omitempty"`
}

// sbom returns a bill of materials: the modules whose code is in the release. It has
// neither a time nor a serial number, which would differ between two builds.
func (m modules) sbom(version string) ([]byte, error) {
	var bom struct {
		Format   string `json:"bomFormat"`
		Spec     string `json:"specVersion"`
		Version  int    `json:"version"` // of the document
		Metadata struct {
			Component component `json:"component"`
		} `json:"metadata"`
		Components []component `json:"components"`
	}
	bom.Format, bom.Spec, bom.Version = "CycloneDX", "1.6", 1
	bom.Metadata.Component = component{Type: "application", Ref: "wechat-phone", Name: "wechat-phone", Version: version}
	for _, path := range sorted(m) {
		url := "pkg:golang/" + path + "@" + m[path]
		bom.Components = append(bom.Components, component{"library", url, path, m[path], url})
	}
	text, err := json.Marshal(bom, jsontext.WithIndent("  "))
	return append(text, '\n'), err
}
