package main

import (
	"fmt"
	"time"

	"github.com/dell/gopowerstore"
)

// rules drives what protection is described with.
func rules(client gopowerstore.Client) {
	remotes := got(client.GetAllRemoteSystems(ctx)).as("remote systems")
	holds("there is one remote system", len(remotes) == 1)
	remote := remotes[0]
	holds("it is found by id", got(client.GetRemoteSystem(ctx, remote.ID)).as("remote system by id").Name == remote.Name)
	holds("it is found by name", got(client.GetRemoteSystemByName(ctx, remote.Name)).as("remote system by name").ID == remote.ID)
	filter := map[string]string{"serial_number": "eq." + remote.SerialNumber}
	holds("it is found by serial number", len(got(client.GetRemoteSystems(ctx, filter)).as("remote systems by a filter")) == 1)
	got(client.CopyMetricsByRemoteSystem(ctx, remote.ID, gopowerstore.FiveMins)).as("copies of a remote system")

	hourly := &gopowerstore.SnapshotRuleCreate{Name: "go-hourly", Interval: gopowerstore.SnapshotRuleIntervalEnumOneHour, DesiredRetention: 24}
	snapshots := got(client.CreateSnapshotRule(ctx, hourly)).as("snapshot rule").ID
	got(client.ModifySnapshotRule(ctx, &gopowerstore.SnapshotRuleCreate{DesiredRetention: 12}, snapshots)).as("snapshot rule changed")
	holds("it is changed", got(client.GetSnapshotRule(ctx, snapshots)).as("snapshot rule by id").DesiredRetention == 12)
	holds("it is found by name", got(client.GetSnapshotRuleByName(ctx, "go-hourly")).as("snapshot rule by name").ID == snapshots)
	holds("it is listed", len(got(client.GetSnapshotRules(ctx)).as("snapshot rules")) >= 1)

	create := &gopowerstore.ReplicationRuleCreate{Name: "go-rule", Rpo: gopowerstore.RpoOneHour, RemoteSystemID: remote.ID}
	rule := got(client.CreateReplicationRule(ctx, create)).as("replication rule").ID
	got(client.ModifyReplicationRule(ctx, &gopowerstore.ReplicationRuleModify{Rpo: gopowerstore.RpoSixHours}, rule)).as("rule changed")
	holds("it is changed", got(client.GetReplicationRule(ctx, rule)).as("rule by id").Rpo == gopowerstore.RpoSixHours)
	holds("it is found by name", got(client.GetReplicationRuleByName(ctx, "go-rule")).as("rule by name").ID == rule)
	holds("it is listed", len(got(client.GetReplicationRules(ctx)).as("rules")) >= 1)

	both := &gopowerstore.ProtectionPolicyCreate{Name: "go-policy", ReplicationRuleIDs: []string{rule}, SnapshotRuleIDs: []string{snapshots}}
	policy := got(client.CreateProtectionPolicy(ctx, both)).as("policy").ID
	one := &gopowerstore.ProtectionPolicyCreate{Name: "go-policy-2", ReplicationRuleIDs: []string{rule}, SnapshotRuleIDs: []string{}}
	got(client.ModifyProtectionPolicy(ctx, one, policy)).as("policy changed")
	changed := got(client.GetProtectionPolicy(ctx, policy)).as("policy by id")
	holds("it is changed", len(changed.SnapshotRules) == 0 && len(changed.ReplicationRules) == 1)
	holds("it is found by name", got(client.GetProtectionPolicyByName(ctx, "go-policy-2")).as("policy by name").ID == policy)
	holds("it is listed", len(got(client.GetProtectionPolicies(ctx)).as("policies")) >= 1)
	got(client.DeleteProtectionPolicy(ctx, policy)).as("policy deleted")
	got(client.DeleteReplicationRule(ctx, rule)).as("rule deleted")
	got(client.DeleteSnapshotRule(ctx, &gopowerstore.SnapshotRuleDelete{}, snapshots)).as("snapshot rule deleted")
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

func act(client gopowerstore.Client, session string, action gopowerstore.ActionType, params *gopowerstore.FailoverParams) {
	got(client.ExecuteActionOnReplicationSession(ctx, session, action, params)).as(string(action))
}

// protect takes a resource through every verb and brings it home.
func protect(a, b gopowerstore.Client, resource, name string, assign func(policy string) error) {
	remote := got(a.GetAllRemoteSystems(ctx)).as("remote systems")[0].ID
	create := &gopowerstore.ReplicationRuleCreate{Name: name, Rpo: gopowerstore.RpoFiveMinutes, RemoteSystemID: remote}
	rule := got(a.CreateReplicationRule(ctx, create)).as("rule").ID
	described := &gopowerstore.ProtectionPolicyCreate{Name: name, ReplicationRuleIDs: []string{rule}}
	policy := got(a.CreateProtectionPolicy(ctx, described)).as("policy").ID
	check("protected", assign(policy))
	session := got(a.GetReplicationSessionByLocalResourceID(ctx, resource)).as("session").ID
	settled(a, session, gopowerstore.RsStateOk)
	act(a, session, gopowerstore.RsActionSync, nil)
	settled(a, session, gopowerstore.RsStateOk)
	act(a, session, gopowerstore.RsActionPause, nil)
	settled(a, session, gopowerstore.RsStatePaused)
	act(a, session, gopowerstore.RsActionResume, nil)
	settled(a, session, gopowerstore.RsStateOk)
	planned := &gopowerstore.FailoverParams{IsPlanned: true}
	wrong := got(b.ExecuteActionOnReplicationSession(ctx, session, gopowerstore.RsActionFailover, planned))
	holds("a planned failover at the destination is told", wrong.refused("at the destination").UnableToFailoverFromDestination())
	act(a, session, gopowerstore.RsActionFailover, planned)
	settled(b, session, gopowerstore.RsStateFailedOver)
	act(b, session, gopowerstore.RsActionReprotect, nil)
	holds("the direction changed", settled(b, session, gopowerstore.RsStateOk).Role == "Source")
	act(b, session, gopowerstore.RsActionFailover, &gopowerstore.FailoverParams{IsPlanned: true, Reverse: true})
	holds("it came home", settled(a, session, gopowerstore.RsStateOk).Role == "Source")
	check("unprotected", assign(""))
	got(a.DeleteProtectionPolicy(ctx, policy)).as("policy deleted")
	got(a.DeleteReplicationRule(ctx, rule)).as("rule deleted")
}

func protectedVolume(a, b gopowerstore.Client) {
	volume := createVolume(a, "go-protected")
	protect(a, b, volume, "go-volume", func(policy string) error {
		_, err := a.ModifyVolume(ctx, &gopowerstore.VolumeModify{ProtectionPolicyID: policy}, volume)
		return err
	})
	deleteVolumes(a, volume)
	deleteVolumes(b, got(b.GetVolumeByName(ctx, "go-protected")).as("copy").ID)
}

func protectedGroup(a, b gopowerstore.Client) {
	members := []string{createVolume(a, "go-member-1"), createVolume(a, "go-member-2")}
	create := &gopowerstore.VolumeGroupCreate{Name: "go-group", VolumeIDs: members[:1]}
	group := got(a.CreateVolumeGroup(ctx, create)).as("group").ID
	got(a.AddMembersToVolumeGroup(ctx, &gopowerstore.VolumeGroupMembers{VolumeIDs: members[1:]}, group)).as("members")
	got(a.ModifyVolumeGroup(ctx, &gopowerstore.VolumeGroupModify{Description: "changed"}, group)).as("group changed")
	found := got(a.GetVolumeGroup(ctx, group)).as("group by id")
	holds("it is changed", found.Description == "changed" && len(found.Volumes) == 2)
	holds("it is found by name", got(a.GetVolumeGroupByName(ctx, "go-group")).as("group by name").ID == group)
	holds("it is listed", len(got(a.GetVolumeGroups(ctx)).as("groups")) >= 1)
	of := got(a.GetVolumeGroupsByVolumeID(ctx, members[0])).as("groups of a volume").VolumeGroup
	holds("a member tells its group", len(of) == 1 && of[0].ID == group)
	figuresOfGroup(a, group)
	set := got(a.CreateVolumeGroupSnapshot(ctx, group, &gopowerstore.VolumeGroupSnapshotCreate{Name: "go-set"})).as("snapshot set").ID
	change := &gopowerstore.VolumeGroupSnapshotModify{Name: "go-set-2", Description: "changed"}
	got(a.ModifyVolumeGroupSnapshot(ctx, change, set)).as("snapshot set changed")
	holds("it is changed", got(a.GetVolumeGroupSnapshot(ctx, set)).as("snapshot set by id").Name == "go-set-2")
	holds("it is found by name", got(a.GetVolumeGroupSnapshotByName(ctx, "go-set-2")).as("snapshot set by name").ID == set)
	holds("it is listed", len(got(a.GetVolumeGroupSnapshots(ctx)).as("snapshot sets")) >= 1)
	protect(a, b, group, "go-group", func(policy string) error {
		_, err := a.UpdateVolumeGroupProtectionPolicy(ctx, group, &gopowerstore.VolumeGroupChangePolicy{ProtectionPolicyID: policy})
		return err
	})
	got(a.DeleteVolumeGroup(ctx, set)).as("snapshot set deleted")
	got(a.RemoveMembersFromVolumeGroup(ctx, &gopowerstore.VolumeGroupMembers{VolumeIDs: members}, group)).as("members removed")
	got(a.DeleteVolumeGroup(ctx, group)).as("group deleted")
	deleteVolumes(a, members...)
}
