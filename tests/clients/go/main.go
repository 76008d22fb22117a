// gopowerstore against two paired clusters: every call of its client that is not excluded (covered.go), and the life of a protected
// volume and of a protected group.
//
// Arguments: the REST address, user and password of the one cluster, then of the other. Prints one line for each step that held; ends
// with exit code 1 at the first that did not.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dell/gopowerstore"
)

const mib = 1024 * 1024

var ctx = context.Background()

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "not ok %s: %v\n", what, err)
	os.Exit(1)
}

func check(what string, err error) {
	if err != nil {
		fail(what, err)
	}
	fmt.Println("ok", what)
}

func holds(what string, held bool) {
	if !held {
		fail(what, fmt.Errorf("it does not hold"))
	}
	fmt.Println("ok", what)
}

// answer is what a call came back with.
type answer[T any] struct {
	value T
	err   error
}

func got[T any](value T, err error) answer[T] { return answer[T]{value, err} }

// as takes the value, which there must be.
func (a answer[T]) as(what string) T {
	check(what, a.err)
	return a.value
}

// refused takes the refusal, which there must be.
func (a answer[T]) refused(what string) *gopowerstore.APIError {
	refusal, ok := a.err.(gopowerstore.APIError)
	if !ok {
		fail(what, fmt.Errorf("not a refusal: %v", a.err))
	}
	return &refusal
}

func of[T any](value T) *T { return &value }

func connect(url, user, password string) gopowerstore.Client {
	options := gopowerstore.NewClientOptions().SetInsecure(true).SetDefaultTimeout(60 * time.Second)
	return recorded(got(gopowerstore.NewClientWithArgs(url, user, password, options)).as("connected to " + url))
}

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "six arguments are needed: address, user and password of two clusters")
		os.Exit(2)
	}
	a := connect(os.Args[1], os.Args[2], os.Args[3])
	b := connect(os.Args[4], os.Args[5], os.Args[6])
	platform(a)
	volumes(a)
	hosts(a)
	rules(a)
	protectedVolume(a, b)
	protectedGroup(a, b)
	covered()
}
