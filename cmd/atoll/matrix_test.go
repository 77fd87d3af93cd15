package main

import (
	"slices"
	"strings"
	"testing"
)

func TestMatrixCellsAreEveryCombination(t *testing.T) {
	f := matrixFlags{kubernetes: []string{"v1.36.3", "v1.35.1"}, providers: []string{"embedded", "kind"}, seed: 7, invert: true}
	cells, err := f.cells([]string{"two-clusters", "three-regions"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range cells {
		names = append(names, cells[i].Name())
	}
	if len(names) != 8 || !slices.Contains(names, "three-regions-v1.35.1-kind") {
		t.Errorf("%q", names)
	}
	want := "atoll run two-clusters --provider kind --seed 7 --kubernetes v1.36.3 --invert"
	if got := strings.Join(cells[1].Command, " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Without --kubernetes, a cell is of the version that its file asks for.
func TestMatrixCellsNameTheFilesOwnVersion(t *testing.T) {
	f := matrixFlags{providers: []string{"embedded"}, seed: 1}
	cells, err := f.cells([]string{"two-clusters"})
	if err != nil {
		t.Fatal(err)
	}
	if cells[0].Kubernetes != "v1.36.3" || slices.Contains(cells[0].Command, "--kubernetes") {
		t.Errorf("%+v", cells[0])
	}
}

func TestMatrixTellsAllBadInputBeforeItRuns(t *testing.T) {
	f := matrixFlags{kubernetes: []string{"v1.36.3", "1.35"}, providers: []string{"embedded", "minikube"}, seed: 1}
	_, err := f.cells([]string{"two-clusters", "nowhere", "two-clusters"})
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{"--kubernetes 1.35", "minikube", "nowhere", "two-clusters-v1.36.3-embedded is there twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if code, _ := exitCode(err); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
}
