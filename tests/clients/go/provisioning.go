package main

import "github.com/dell/gopowerstore"

func createVolume(client gopowerstore.Client, name string) string {
	made := got(client.CreateVolume(ctx, &gopowerstore.VolumeCreate{Name: &name, Size: of(int64(8 * mib))}))
	return made.as("volume " + name).ID
}

func deleteVolumes(client gopowerstore.Client, ids ...string) {
	for _, id := range ids {
		got(client.DeleteVolume(ctx, nil, id)).as("deleted")
	}
}

func volumes(client gopowerstore.Client) {
	name := "go-vol"
	volume := createVolume(client, name)
	again := got(client.CreateVolume(ctx, &gopowerstore.VolumeCreate{Name: &name, Size: of(int64(8 * mib))}))
	holds("a name in use is told", again.refused("a name in use").VolumeNameIsAlreadyUse())
	holds("it is found by name", got(client.GetVolumeByName(ctx, name)).as("volume by name").ID == volume)
	holds("it is listed", len(got(client.GetVolumes(ctx)).as("volumes")) >= 1)
	change := &gopowerstore.VolumeModify{Name: "go-vol-2", Size: 16 * mib, Description: "changed"}
	got(client.ModifyVolume(ctx, change, volume)).as("volume changed")
	changed := got(client.GetVolume(ctx, volume)).as("volume by id")
	holds("it is changed", changed.Name == "go-vol-2" && changed.Size == 16*mib && changed.Description == "changed")
	figuresOfVolume(client, volume)

	first := got(client.CreateSnapshot(ctx, &gopowerstore.SnapshotCreate{Name: of("go-snap")}, volume)).as("snapshot").ID
	second := got(client.CreateSnapshot(ctx, &gopowerstore.SnapshotCreate{Name: of("go-snap-2")}, volume)).as("snapshot").ID
	holds("it is a snapshot", got(client.GetSnapshot(ctx, first)).as("snapshot by id").Type == gopowerstore.VolumeTypeEnumSnapshot)
	holds("it is found by name", got(client.GetSnapshotByName(ctx, "go-snap")).as("snapshot by name").ID == first)
	holds("the volume has two", len(got(client.GetSnapshotsByVolumeID(ctx, volume)).as("snapshots of a volume")) == 2)
	holds("there are two", len(got(client.GetSnapshots(ctx)).as("snapshots")) >= 2)
	asked := &gopowerstore.VolumeComputeDifferences{
		BaseSnapshotID: &first, Offset: of(int64(0)), Length: of(int64(16 * mib)), ChunkSize: of(int64(mib)),
	}
	differences := got(client.ComputeDifferences(ctx, asked, second)).as("differences")
	holds("nothing was written between", differences.NextOffset != nil && *differences.NextOffset == -1)
	fromSnapshot := got(client.CreateVolumeFromSnapshot(ctx, &gopowerstore.VolumeClone{Name: of("go-clone")}, first)).as("clone")
	clone := got(client.CloneVolume(ctx, &gopowerstore.VolumeClone{Name: of("go-clone-2")}, volume)).as("clone of a volume")
	got(client.DeleteSnapshot(ctx, nil, second)).as("snapshot deleted")
	deleteVolumes(client, fromSnapshot.ID, clone.ID, volume)
	holds("gone is not found", got(client.GetVolume(ctx, volume)).refused("a volume that is gone").NotFound())
}

func createHost(client gopowerstore.Client, name string) string {
	initiators := []gopowerstore.InitiatorCreateModify{
		{PortName: of("iqn.1994-05.org.example:" + name), PortType: of(gopowerstore.InitiatorProtocolTypeEnumISCSI)},
	}
	host := &gopowerstore.HostCreate{Name: &name, OsType: of(gopowerstore.OSTypeEnumLinux), Initiators: &initiators}
	return got(client.CreateHost(ctx, host)).as("host " + name).ID
}

func hosts(client gopowerstore.Client) {
	volume := createVolume(client, "go-mapped")
	host := createHost(client, "go-host")
	got(client.ModifyHost(ctx, &gopowerstore.HostModify{Description: of("changed")}, host)).as("host changed")
	holds("it is changed", got(client.GetHost(ctx, host)).as("host by id").Description == "changed")
	holds("it is found by name", got(client.GetHostByName(ctx, "go-host")).as("host by name").ID == host)
	holds("it is listed", len(got(client.GetHosts(ctx)).as("hosts")) >= 1)

	got(client.AttachVolumeToHost(ctx, host, &gopowerstore.HostVolumeAttach{VolumeID: &volume})).as("attached")
	mappings := got(client.GetHostVolumeMappingByVolumeID(ctx, volume)).as("mappings of a volume")
	holds("it is mapped to the host", len(mappings) == 1 && mappings[0].HostID == host)
	holds("it is listed", len(got(client.GetHostVolumeMappings(ctx)).as("mappings")) >= 1)
	mapping := got(client.GetHostVolumeMapping(ctx, mappings[0].ID)).as("mapping by id")
	holds("it is the volume's", mapping.VolumeID == volume)
	mapped := got(client.DeleteVolume(ctx, nil, volume)).refused("a mapped volume is deleted")
	holds("a mapped volume stays", mapped.VolumeAttachedToHost())
	detach := &gopowerstore.HostVolumeDetach{VolumeID: &volume}
	got(client.DetachVolumeFromHost(ctx, host, detach)).as("detached")
	twice := got(client.DetachVolumeFromHost(ctx, host, detach)).refused("detached twice")
	holds("a second detach is told", twice.HostIsNotAttachedToVolume())

	second := createHost(client, "go-host-2")
	create := &gopowerstore.HostGroupCreate{Name: "go-hosts", HostIDs: []string{host}}
	group := got(client.CreateHostGroup(ctx, create)).as("host group").ID
	change := &gopowerstore.HostGroupModify{Description: "changed", AddHostIDs: []string{second}}
	got(client.ModifyHostGroup(ctx, change, group)).as("host group changed")
	holds("it has both", len(got(client.GetHostGroup(ctx, group)).as("host group by id").Hosts) == 2)
	holds("it is found by name", got(client.GetHostGroupByName(ctx, "go-hosts")).as("host group by name").ID == group)
	holds("it is listed", len(got(client.GetHostGroups(ctx)).as("host groups")) >= 1)
	got(client.AttachVolumeToHostGroup(ctx, group, &gopowerstore.HostVolumeAttach{VolumeID: &volume})).as("attached to a group")
	got(client.DetachVolumeFromHostGroup(ctx, group, detach)).as("detached from a group")
	got(client.DeleteHostGroup(ctx, group)).as("host group deleted")
	for _, gone := range []string{host, second} {
		got(client.DeleteHost(ctx, nil, gone)).as("host deleted")
	}
	deleteVolumes(client, volume)
}
