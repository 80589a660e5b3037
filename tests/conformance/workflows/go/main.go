// `tour` by the official SDK for Go: what it does stands in ../README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/dapr/durabletask-go/workflow"
	"github.com/dapr/go-sdk/client"
)

func stamp(ctx workflow.ActivityContext) (any, error) {
	var text string
	if err := ctx.GetInput(&text); err != nil {
		return nil, err
	}
	return text + ">go", nil
}

func tour(ctx *workflow.WorkflowContext) (any, error) {
	var text, first string
	if err := ctx.GetInput(&text); err != nil {
		return nil, err
	}
	if err := ctx.CallActivity("stamp", workflow.WithActivityInput(text)).Await(&first); err != nil {
		return nil, err
	}
	var branches []workflow.Task
	for n := 1; n <= 3; n++ {
		input := workflow.WithActivityInput(fmt.Sprintf("%s%d", first, n))
		branches = append(branches, ctx.CallActivity("stamp", input))
	}
	words := make([]string, 4)
	for n, branch := range branches {
		if err := branch.Await(&words[n]); err != nil {
			return nil, err
		}
	}
	if err := ctx.CreateTimer(50 * time.Millisecond).Await(nil); err != nil {
		return nil, err
	}
	if err := ctx.WaitForExternalEvent("go", time.Minute).Await(&words[3]); err != nil {
		return nil, err
	}
	return strings.Join(words, "|"), nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	registry := workflow.NewRegistry()
	for _, failed := range []error{
		registry.AddWorkflowN("tour", tour),
		registry.AddActivityN("stamp", stamp),
	} {
		if failed != nil {
			log.Fatal(failed)
		}
	}
	worker, err := client.NewWorkflowClient()
	if err != nil {
		log.Fatal(err)
	}
	if err := worker.StartWorker(ctx, registry); err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
}
