package main

import (
	"reflect"
	"strings"
	"testing"
)

// readForm and duplicate repeat the names of all fields.
func TestEveryFieldIsReadFromAFormAndNamedIfItOccursTwice(t *testing.T) {
	for i, field := range reflect.VisibleFields(reflect.TypeFor[fields]()) {
		name := field.Tag.Get("json")
		got, err := readForm([]byte(name + "=value"))
		if err != nil || reflect.ValueOf(got).Field(i).IsZero() {
			t.Errorf("%s: got %+v, %v from a form, want its value", name, got, err)
		}
		_, err = readForm([]byte(name + "=a&" + name + "=b"))
		if err == nil || !strings.Contains(err.Error(), name+" occurs twice") {
			t.Errorf("%s: got the error %v if it occurs twice in a form, want one that names it", name, err)
		}
		_, err = readJSON([]byte(`{"` + name + `":"a","` + name + `":"b"}`))
		if err == nil || !strings.Contains(err.Error(), name+" occurs twice") {
			t.Errorf("%s: got the error %v if it occurs twice in JSON, want one that names it", name, err)
		}
	}
}
