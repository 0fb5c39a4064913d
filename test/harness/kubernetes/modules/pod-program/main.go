// A program that speaks to the cluster's API from within its pod, as programs with a client library do: with the token, the
// authority and the namespace of its account's folder, and nothing else.
//
//	pod-program annotate POD NAME=VALUE ...   writes annotations of a pod
//	pod-program spawn NAME COMMAND ...        makes a pod of the same image, with the labels of LONGSHORE_CHILD_LABELS
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const folder = "/var/run/secrets/kubernetes.io/serviceaccount/"

type object map[string]any

func main() {
	if len(os.Args) < 4 {
		fail("usage: pod-program annotate POD NAME=VALUE ... | spawn NAME COMMAND ...")
	}
	name, words := os.Args[2], os.Args[3:]
	switch os.Args[1] {
	case "annotate":
		patch := object{"metadata": object{"annotations": pairs(words)}}
		send("PATCH", "/"+name, "application/merge-patch+json", patch)
	case "spawn":
		labels := pairs(strings.Split(os.Getenv("LONGSHORE_CHILD_LABELS"), ","))
		container := object{"name": "main", "image": os.Getenv("IMAGE"), "command": words}
		send("POST", "", "application/json", object{
			"apiVersion": "v1",
			"kind":       "Pod",
			"metadata":   object{"name": name, "labels": labels},
			"spec":       object{"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": []object{container}},
		})
	default:
		fail("no such command: " + os.Args[1])
	}
}

func pairs(words []string) map[string]string {
	all := map[string]string{}
	for _, word := range words {
		if name, value, found := strings.Cut(word, "="); found {
			all[name] = value
		}
	}
	return all
}

func send(method, below, contentType string, body object) {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(read("ca.crt"))
	client := http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, ServerName: "kubernetes.default.svc"}},
	}
	address := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	url := "https://" + address + "/api/v1/namespaces/" + string(read("namespace")) + "/pods" + below
	content, err := json.Marshal(body)
	must(err)
	request, err := http.NewRequest(method, url, bytes.NewReader(content))
	must(err)
	request.Header.Set("Authorization", "Bearer "+string(read("token")))
	request.Header.Set("Content-Type", contentType)
	answer, err := client.Do(request)
	must(err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	must(err)
	if answer.StatusCode >= 300 {
		fail(fmt.Sprintf("%s: %s", answer.Status, said))
	}
}

func read(name string) []byte {
	content, err := os.ReadFile(folder + name)
	must(err)
	return bytes.TrimSpace(content)
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
