// judge FOLDER
//
// Reads LyncPoolMirrors as JSON, one a line, and prints for each what Argo CD and Flux make of it, as a line of JSON.
// FOLDER is deploy/: the Lua of argocd/argocd-cm.yaml runs in the interpreter of Argo CD, with the same libraries, and the CEL
// of flux/kustomization.yaml in that of Flux, with the same options and in the order that Flux documents.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

const (
	healthKey  = "resource.customizations.health.lyncmirror.io_LyncPoolMirror"
	actionsKey = "resource.customizations.actions.lyncmirror.io_LyncPoolMirror"
)

type customization struct {
	Discovery   string `json:"discovery.lua"`
	Definitions []struct {
		Name   string `json:"name"`
		Action string `json:"action.lua"`
	} `json:"definitions"`
}

// healthCheck is an entry of healthCheckExprs.
type healthCheck struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

type judge struct {
	health  string
	actions customization
	flux    []state
}

// state is a status with the condition for it.
type state struct {
	status status.Status
	holds  cel.Program
}

type verdict struct {
	Argo    json.RawMessage            `json:"argo"`
	Flux    string                     `json:"flux"`
	Kstatus string                     `json:"kstatus"`
	Actions map[string]json.RawMessage `json:"actions"`
	// The object after each action.
	Changed map[string]json.RawMessage `json:"changed"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: judge FOLDER")
	}
	judge, err := load(os.Args[1])
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	output := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		// As the clients of both tools decode it: whole numbers stay int64.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return err
		}
		verdict, err := judge.verdict(object)
		if err != nil {
			return fmt.Errorf("%s: %w", object.GetName(), err)
		}
		if err := output.Encode(verdict); err != nil {
			return err
		}
	}
	return lines.Err()
}

func load(folder string) (*judge, error) {
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := read(filepath.Join(folder, "argocd/argocd-cm.yaml"), &config); err != nil {
		return nil, err
	}
	judge := &judge{health: config.Data[healthKey]}
	if err := yaml.UnmarshalStrict([]byte(config.Data[actionsKey]), &judge.actions); err != nil {
		return nil, err
	}
	var kustomization struct {
		Spec struct {
			Checks []healthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := read(filepath.Join(folder, "flux/kustomization.yaml"), &kustomization); err != nil {
		return nil, err
	}
	checks := kustomization.Spec.Checks
	if len(checks) != 1 || checks[0].APIVersion != "lyncmirror.io/v1alpha1" || checks[0].Kind != "LyncPoolMirror" {
		return nil, fmt.Errorf("flux/kustomization.yaml: want one check of LyncPoolMirror, not %v", checks)
	}
	env, err := cel.NewEnv(cel.HomogeneousAggregateLiterals(), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders())
	if err != nil {
		return nil, err
	}
	for _, entry := range []struct {
		status status.Status
		text   string
	}{
		{status.InProgressStatus, checks[0].InProgress},
		{status.FailedStatus, checks[0].Failed},
		{status.CurrentStatus, checks[0].Current},
	} {
		parsed, issues := env.Parse(entry.text)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		program, err := env.Program(parsed, cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			return nil, err
		}
		judge.flux = append(judge.flux, state{entry.status, program})
	}
	return judge, nil
}

// inFlux is the first status whose condition holds. Flux asks for none while the observed generation is another one.
func (j *judge) inFlux(object *unstructured.Unstructured) (status.Status, error) {
	content := object.UnstructuredContent()
	observed, found, err := unstructured.NestedInt64(content, "status", "observedGeneration")
	if err != nil {
		return "", err
	}
	if found && observed != object.GetGeneration() {
		return status.InProgressStatus, nil
	}
	for _, state := range j.flux {
		value, _, err := state.holds.Eval(content)
		if err != nil {
			return "", err
		}
		if value.Value() == true {
			return state.status, nil
		}
	}
	return status.InProgressStatus, nil
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, into)
}

func (j *judge) verdict(object *unstructured.Unstructured) (*verdict, error) {
	argo, err := execute(j.health, object)
	if err != nil {
		return nil, fmt.Errorf("health.lua: %w", err)
	}
	flux, err := j.inFlux(object)
	if err != nil {
		return nil, fmt.Errorf("healthCheckExprs: %w", err)
	}
	computed, err := status.Compute(object)
	if err != nil {
		return nil, err
	}
	result := &verdict{Argo: argo, Flux: flux.String(), Kstatus: computed.Status.String()}
	discovered, err := execute(j.actions.Discovery, object)
	if err != nil {
		return nil, fmt.Errorf("discovery.lua: %w", err)
	}
	if err := json.Unmarshal(discovered, &result.Actions); err != nil {
		return nil, fmt.Errorf("discovery.lua returned %s: %w", discovered, err)
	}
	result.Changed = map[string]json.RawMessage{}
	for _, definition := range j.actions.Definitions {
		if result.Changed[definition.Name], err = execute(definition.Action, object); err != nil {
			return nil, fmt.Errorf("action %s: %w", definition.Name, err)
		}
	}
	return result, nil
}

// execute runs a script as Argo CD does: with the base, package and table libraries, and for at most a second.
func execute(script string, object *unstructured.Unstructured) (json.RawMessage, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("actionParams", state.NewTable())
	state.SetGlobal("obj", luajson.DecodeValue(state, plain(object.DeepCopy().Object)))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	return luajson.Encode(state.Get(-1))
}

// plain turns whole numbers into what the decoder of Lua knows.
func plain(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			value[key] = plain(inner)
		}
	case []any:
		for index, inner := range value {
			value[index] = plain(inner)
		}
	case int64:
		return float64(value)
	}
	return value
}
