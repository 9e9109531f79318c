// Command sleeper is what test pods run:
//
//	sleeper sleep          until SIGTERM or SIGINT
//	sleeper exit CODE      ends at once
//	sleeper echo WORD...   prints the words and ends
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	switch os.Args[1] {
	case "sleep":
		// A process that is PID 1 ignores signals it does not ask for.
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("sleeping")
		fmt.Println("ended by", <-ended)
	case "exit":
		if len(os.Args) != 3 {
			usage()
		}
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			usage()
		}
		fmt.Println("exiting with", code)
		os.Exit(code)
	case "echo":
		fmt.Println(strings.Join(os.Args[2:], " "))
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: sleeper sleep | exit CODE | echo WORD...")
	os.Exit(2)
}
