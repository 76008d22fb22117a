// The life of a protected volume and of a protected group, driven by gopowerstore against two paired clusters.
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

func connect(url, user, password string) gopowerstore.Client {
	options := gopowerstore.NewClientOptions().SetInsecure(true).SetDefaultTimeout(60 * time.Second)
	client, err := gopowerstore.NewClientWithArgs(url, user, password, options)
	check("connected to "+url, err)
	return client
}

// apiError is the refusal that an error is.
func apiError(what string, err error) gopowerstore.APIError {
	refusal, ok := err.(gopowerstore.APIError)
	if !ok {
		fail(what, fmt.Errorf("not a refusal: %v", err))
	}
	return refusal
}

// settled waits, within bounds, until a session is in a state.
func settled(client gopowerstore.Client, session string, state gopowerstore.RSStateEnum) gopowerstore.ReplicationSession {
	deadline := time.Now().Add(60 * time.Second)
	for {
		found, err := client.GetReplicationSessionByID(ctx, session)
		if err == nil && found.State == state {
			return found
		}
		if time.Now().After(deadline) {
			fail("the session becomes "+string(state), fmt.Errorf("it is %v (%v)", found.State, err))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func platform(client gopowerstore.Client) {
	version, err := client.GetSoftwareMajorMinorVersion(ctx)
	check("version", err)
	holds("version is 4.1", version > 4.05 && version < 4.15)
	cluster, err := client.GetCluster(ctx)
	check("cluster", err)
	holds("cluster is configured", cluster.State == "Configured")
	capacity, err := client.GetCapacity(ctx)
	check("capacity", err)
	holds("there is capacity", capacity > 0)
	_, err = client.GetFCPorts(ctx)
	check("fibre channel ports", err)
	_, err = client.PerformanceMetricsByCluster(ctx, "0", gopowerstore.FiveMins)
	check("performance of the cluster", err)
	_, err = client.GetHostGroups(ctx)
	check("host groups", err)
	_, err = client.GetStorageISCSITargetAddresses(ctx)
	fmt.Println("ok iSCSI addresses were asked for:", err == nil)
}

func createVolume(client gopowerstore.Client, name string) string {
	size := int64(8 * mib)
	made, err := client.CreateVolume(ctx, &gopowerstore.VolumeCreate{Name: &name, Size: &size})
	check("volume "+name, err)
	return made.ID
}

func provisioning(client gopowerstore.Client) {
	name := "go-vol"
	volume := createVolume(client, name)
	size := int64(8 * mib)
	_, err := client.CreateVolume(ctx, &gopowerstore.VolumeCreate{Name: &name, Size: &size})
	refusal := apiError("a name in use", err)
	holds("a name in use is told", refusal.VolumeNameIsAlreadyUse())
	found, err := client.GetVolumeByName(ctx, name)
	check("volume by name", err)
	holds("it is the same", found.ID == volume)

	hostName, osType, port, kind := "go-host", gopowerstore.OSTypeEnumLinux, "iqn.1994-05.org.example:go", gopowerstore.InitiatorProtocolTypeEnumISCSI
	initiators := []gopowerstore.InitiatorCreateModify{{PortName: &port, PortType: &kind}}
	host, err := client.CreateHost(ctx, &gopowerstore.HostCreate{Name: &hostName, OsType: &osType, Initiators: &initiators})
	check("host", err)
	_, err = client.AttachVolumeToHost(ctx, host.ID, &gopowerstore.HostVolumeAttach{VolumeID: &volume})
	check("attached", err)
	mappings, err := client.GetHostVolumeMappingByVolumeID(ctx, volume)
	check("mappings", err)
	holds("it is mapped to the host", len(mappings) == 1 && mappings[0].HostID == host.ID)
	_, err = client.DeleteVolume(ctx, nil, volume)
	refusal = apiError("a mapped volume is deleted", err)
	holds("a mapped volume stays", refusal.VolumeAttachedToHost())
	_, err = client.DetachVolumeFromHost(ctx, host.ID, &gopowerstore.HostVolumeDetach{VolumeID: &volume})
	check("detached", err)
	_, err = client.DetachVolumeFromHost(ctx, host.ID, &gopowerstore.HostVolumeDetach{VolumeID: &volume})
	refusal = apiError("detached twice", err)
	holds("a second detach is told", refusal.HostIsNotAttachedToVolume())
	_, err = client.DeleteHost(ctx, nil, host.ID)
	check("host deleted", err)

	snapshotName, cloneName := "go-snap", "go-clone"
	snapshot, err := client.CreateSnapshot(ctx, &gopowerstore.SnapshotCreate{Name: &snapshotName}, volume)
	check("snapshot", err)
	clone, err := client.CreateVolumeFromSnapshot(ctx, &gopowerstore.VolumeClone{Name: &cloneName}, snapshot.ID)
	check("clone", err)
	for _, gone := range []string{clone.ID, volume} {
		_, err = client.DeleteVolume(ctx, nil, gone)
		check("deleted", err)
	}
	_, err = client.GetVolume(ctx, volume)
	refusal = apiError("a volume that is gone", err)
	holds("gone is not found", refusal.NotFound())
}

func act(client gopowerstore.Client, session string, action gopowerstore.ActionType, params *gopowerstore.FailoverParams) {
	_, err := client.ExecuteActionOnReplicationSession(ctx, session, action, params)
	check(string(action), err)
}

// protect takes a resource through every verb and brings it home.
func protect(a, b gopowerstore.Client, resource, name string, assign func(policy string) error) {
	remotes, err := a.GetAllRemoteSystems(ctx)
	check("remote systems", err)
	holds("there is one remote system", len(remotes) == 1)
	rule, err := a.CreateReplicationRule(ctx, &gopowerstore.ReplicationRuleCreate{Name: name, Rpo: gopowerstore.RpoFiveMinutes, RemoteSystemID: remotes[0].ID})
	check("rule", err)
	policy, err := a.CreateProtectionPolicy(ctx, &gopowerstore.ProtectionPolicyCreate{Name: name, ReplicationRuleIDs: []string{rule.ID}})
	check("policy", err)
	check("protected", assign(policy.ID))
	session, err := a.GetReplicationSessionByLocalResourceID(ctx, resource)
	check("session", err)
	settled(a, session.ID, gopowerstore.RsStateOk)
	act(a, session.ID, gopowerstore.RsActionSync, nil)
	settled(a, session.ID, gopowerstore.RsStateOk)
	act(a, session.ID, gopowerstore.RsActionPause, nil)
	settled(a, session.ID, gopowerstore.RsStatePaused)
	act(a, session.ID, gopowerstore.RsActionResume, nil)
	settled(a, session.ID, gopowerstore.RsStateOk)
	_, err = b.ExecuteActionOnReplicationSession(ctx, session.ID, gopowerstore.RsActionFailover, &gopowerstore.FailoverParams{IsPlanned: true})
	refusal := apiError("a planned failover at the destination", err)
	holds("a planned failover at the destination is told", refusal.UnableToFailoverFromDestination())
	act(a, session.ID, gopowerstore.RsActionFailover, &gopowerstore.FailoverParams{IsPlanned: true})
	settled(b, session.ID, gopowerstore.RsStateFailedOver)
	act(b, session.ID, gopowerstore.RsActionReprotect, nil)
	holds("the direction changed", settled(b, session.ID, gopowerstore.RsStateOk).Role == "Source")
	act(b, session.ID, gopowerstore.RsActionFailover, &gopowerstore.FailoverParams{IsPlanned: true, Reverse: true})
	holds("it came home", settled(a, session.ID, gopowerstore.RsStateOk).Role == "Source")
	check("unprotected", assign(""))
	_, err = a.DeleteProtectionPolicy(ctx, policy.ID)
	check("policy deleted", err)
	_, err = a.DeleteReplicationRule(ctx, rule.ID)
	check("rule deleted", err)
}

func protectedVolume(a, b gopowerstore.Client) {
	volume := createVolume(a, "go-protected")
	protect(a, b, volume, "go-volume", func(policy string) error {
		_, err := a.ModifyVolume(ctx, &gopowerstore.VolumeModify{ProtectionPolicyID: policy}, volume)
		return err
	})
	_, err := a.DeleteVolume(ctx, nil, volume)
	check("volume deleted", err)
	copied, err := b.GetVolumeByName(ctx, "go-protected")
	check("copy", err)
	_, err = b.DeleteVolume(ctx, nil, copied.ID)
	check("copy deleted", err)
}

func protectedGroup(a, b gopowerstore.Client) {
	members := []string{createVolume(a, "go-member-1"), createVolume(a, "go-member-2")}
	group, err := a.CreateVolumeGroup(ctx, &gopowerstore.VolumeGroupCreate{Name: "go-group", VolumeIDs: members[:1]})
	check("group", err)
	_, err = a.AddMembersToVolumeGroup(ctx, &gopowerstore.VolumeGroupMembers{VolumeIDs: members[1:]}, group.ID)
	check("members", err)
	set, err := a.CreateVolumeGroupSnapshot(ctx, group.ID, &gopowerstore.VolumeGroupSnapshotCreate{Name: "go-set"})
	check("snapshot set", err)
	_, err = a.GetVolumeGroupSnapshot(ctx, set.ID)
	check("snapshot set by id", err)
	protect(a, b, group.ID, "go-group", func(policy string) error {
		_, err := a.UpdateVolumeGroupProtectionPolicy(ctx, group.ID, &gopowerstore.VolumeGroupChangePolicy{ProtectionPolicyID: policy})
		return err
	})
	_, err = a.DeleteVolumeGroup(ctx, set.ID)
	check("snapshot set deleted", err)
	_, err = a.RemoveMembersFromVolumeGroup(ctx, &gopowerstore.VolumeGroupMembers{VolumeIDs: members}, group.ID)
	check("members removed", err)
	_, err = a.DeleteVolumeGroup(ctx, group.ID)
	check("group deleted", err)
	for _, member := range members {
		_, err = a.DeleteVolume(ctx, nil, member)
		check("member deleted", err)
	}
}

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "six arguments are needed: address, user and password of two clusters")
		os.Exit(2)
	}
	a := connect(os.Args[1], os.Args[2], os.Args[3])
	b := connect(os.Args[4], os.Args[5], os.Args[6])
	platform(a)
	provisioning(a)
	protectedVolume(a, b)
	protectedGroup(a, b)
}
