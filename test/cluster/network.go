package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// The machines' network. The bridge is in the control machine, not on the
// host: there no firewall of the host filters what crosses it, and the only
// interface that the host gets is hostInterface.
//
// Everything is routed and nothing is translated. The service address of the
// API server is an address of the control machine, and the API server listens
// on the service's port, so pods reach it without kube-proxy. Other services
// have no address that answers.
const (
	networkRange   = "10.213.0.0/16"
	machineBits    = "/24"
	controlAddress = "10.213.0.1"
	hostAddress    = "10.213.0.254"
	hostInterface  = "imageclean0"
	serviceRange   = "10.213.255.0/24"
	apiService     = "10.213.255.1"
	dnsService     = "10.213.255.10"

	apiServer    = "https://" + controlAddress
	registryHost = controlAddress + ":5000"

	// maxNodes is how many pod subnets and addresses there are.
	maxNodes = 200
)

// node is one node's place in the cluster. Nodes count from 1.
type node int

func (n node) name() string      { return fmt.Sprintf("node%d", int(n)) }
func (n node) address() string   { return fmt.Sprintf("10.213.0.%d", 10+int(n)) }
func (n node) podSubnet() string { return fmt.Sprintf("10.213.%d.0/24", int(n)) }

// connectControl makes the bridge and connects the host to it.
func connectControl(ctx context.Context, machine *process) error {
	if _, err := run(ctx, "sh", "-ec", `
		ip link add `+hostInterface+` type veth peer name host netns "$1"
		ip address add `+hostAddress+machineBits+` dev `+hostInterface+`
		ip link set `+hostInterface+` up
		ip route add `+networkRange+` via `+controlAddress,
		"sh", fmt.Sprint(machine.PID)); err != nil {
		return fmt.Errorf("connecting the host: %w", err)
	}
	_, err := machine.shell(ctx, `
		ip link add cluster type bridge
		ip address add `+controlAddress+machineBits+` dev cluster
		ip address add `+apiService+`/32 dev cluster
		ip link set host master cluster up
		ip link set cluster up`)
	return err
}

// connectNode connects a node to the bridge and routes its pods' addresses to it.
func connectNode(ctx context.Context, control, machine *process, n node) error {
	// From the host, because a PID means nothing inside another machine.
	if _, err := run(ctx, "ip", "link", "add", n.name(), "netns", fmt.Sprint(control.PID), "type", "veth",
		"peer", "name", "eth0", "netns", fmt.Sprint(machine.PID)); err != nil {
		return fmt.Errorf("connecting %s: %w", n.name(), err)
	}
	if _, err := machine.shell(ctx, `
		ip address add "$1" dev eth0
		ip link set eth0 up
		ip route add default via `+controlAddress, n.address()+machineBits); err != nil {
		return err
	}
	_, err := control.shell(ctx, `
		ip link set "$1" master cluster up
		ip route add "$2" via "$3"`, n.name(), n.podSubnet(), n.address())
	return err
}

// checkNetworkFree refuses a host on which the machines' addresses already
// lead somewhere else.
func checkNetworkFree() error {
	_, network, err := net.ParseCIDR(networkRange)
	if err != nil {
		return err
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	var taken []string
	for _, address := range addresses {
		if ip, _, err := net.ParseCIDR(address.String()); err == nil && network.Contains(ip) {
			taken = append(taken, address.String())
		}
	}
	if len(taken) > 0 {
		return errors.New("this host has addresses in the cluster's network " + networkRange + ": " + strings.Join(taken, ", "))
	}
	return nil
}
