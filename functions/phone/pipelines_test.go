package main

import (
	"encoding/json/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The workflows run no action that could change under them, and nothing but a
// deployment may ask for AWS's credentials.
func TestWorkflowsArePinnedAndHaveTheLeastPermissions(t *testing.T) {
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		text := readFile(t, ".github/workflows/"+name)
		for _, uses := range regexp.MustCompile(`(?m)uses: (.*)$`).FindAllStringSubmatch(text, -1) {
			pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`).MatchString(uses[1])
			if !pinned && !strings.HasPrefix(uses[1], "./.github/workflows/") {
				t.Errorf("%s uses %s", name, uses[1])
			}
		}
		workflow := parseTemplate(t, []byte(text))
		if top, ok := workflow["permissions"].(map[string]any); !ok || len(top) != 0 {
			t.Errorf("%s: the permissions are %v, before any job's", name, workflow["permissions"])
		}
		for job, j := range workflow.section(t, "jobs") {
			permissions, _ := j.(map[string]any)["permissions"].(map[string]any)
			deploys := name == "deploy-to.yml" || name == "deploy.yml" && (job == "dev" || job == "prod")
			if (permissions["id-token"] == "write") != deploys {
				t.Errorf("%s: the job %s may %v", name, job, permissions)
			}
			for scope, access := range permissions {
				if access == "write" && scope != "id-token" && scope != "security-events" {
					t.Errorf("%s: the job %s may write %s", name, job, scope)
				}
			}
		}
	}
}

func TestPoliciesOfPipelinesAreJSON(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(readFile(t, "docs/pipelines.md"), -1)
	if len(blocks) != 4 {
		t.Errorf("%d policies, want two of each role's", len(blocks))
	}
	for _, block := range blocks {
		var policy struct {
			Version   string
			Statement []struct {
				Effect    string
				Action    any
				Resource  any
				Principal any
				Condition map[string]any
			}
		}
		if err := json.Unmarshal([]byte(block[1]), &policy, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
		for _, s := range policy.Statement {
			if s.Action == nil || (s.Resource == nil) == (s.Principal == nil) {
				t.Errorf("no statement: %+v", s)
			}
			for _, action := range listed(s.Action) {
				if s.Effect == "Allow" && strings.HasPrefix(action.(string), "secretsmanager:Get") {
					t.Errorf("a pipeline may %v", action)
				}
			}
		}
	}
}
