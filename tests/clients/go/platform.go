package main

import (
	"net/http"

	"github.com/dell/gopowerstore"
)

func platform(client gopowerstore.Client) {
	version := got(client.GetSoftwareMajorMinorVersion(ctx)).as("version")
	holds("version is 4.1", version > 4.05 && version < 4.15)
	holds("software is installed", len(got(client.GetSoftwareInstalled(ctx)).as("software")) > 0)
	holds("cluster is configured", got(client.GetCluster(ctx)).as("cluster").State == "Configured")
	holds("there is capacity", got(client.GetCapacity(ctx)).as("capacity") > 0)
	// Limits are not in the published interface: whoever asks for them says so.
	client.SetCustomHTTPHeaders(http.Header{"Dell-Visibility": {"internal"}})
	holds("volumes have a largest size", got(client.GetMaxVolumeSize(ctx)).as("limits") > mib)
	client.SetCustomHTTPHeaders(http.Header{})
	appliance := got(client.GetAppliance(ctx, "A1")).as("appliance")
	holds("it is found by name", got(client.GetApplianceByName(ctx, appliance.Name)).as("appliance by name").ID == "A1")
	holds("there is no Fibre Channel", len(got(client.GetFCPorts(ctx)).as("ports")) == 0)
	holds("none is not found", got(client.GetFCPort(ctx, "none")).refused("a port that there is not").NotFound())
	portals(got(client.GetStorageISCSITargetAddresses(ctx)).err, "iSCSI")
	portals(got(client.GetStorageNVMETCPTargetAddresses(ctx)).err, "NVMe")
	figuresOfSystem(client)
}

// portals: where there are none, that is the client's own error, not a refusal.
func portals(err error, kind string) {
	_, isRefusal := err.(gopowerstore.APIError)
	holds("portals of "+kind+" were asked for", !isRefusal)
}

func figuresOfSystem(client gopowerstore.Client) {
	for _, interval := range []gopowerstore.MetricsIntervalEnum{
		gopowerstore.TwentySec, gopowerstore.FiveMins, gopowerstore.OneHour, gopowerstore.OneDay,
	} {
		got(client.PerformanceMetricsByCluster(ctx, "0", interval)).as("performance of the cluster: " + string(interval))
	}
	got(client.PerformanceMetricsByAppliance(ctx, "A1", gopowerstore.FiveMins)).as("performance of an appliance")
	got(client.PerformanceMetricsByNode(ctx, "N1", gopowerstore.FiveMins)).as("performance of a node")
	space := got(client.SpaceMetricsByCluster(ctx, "0", gopowerstore.FiveMins)).as("space of the cluster")
	holds("there is space", len(space) > 0 && space[len(space)-1].PhysicalTotal != nil && *space[len(space)-1].PhysicalTotal > 0)
	got(client.SpaceMetricsByAppliance(ctx, "A1", gopowerstore.FiveMins)).as("space of an appliance")
	got(client.CopyMetricsByCluster(ctx, "0", gopowerstore.FiveMins)).as("copies of the cluster")
	got(client.CopyMetricsByAppliance(ctx, "A1", gopowerstore.FiveMins)).as("copies of an appliance")
}

func figuresOfVolume(client gopowerstore.Client, volume string) {
	got(client.PerformanceMetricsByVolume(ctx, volume, gopowerstore.FiveMins)).as("performance of a volume")
	got(client.SpaceMetricsByVolume(ctx, volume, gopowerstore.FiveMins)).as("space of a volume")
	got(client.SpaceMetricsByVolumeFamily(ctx, volume, gopowerstore.FiveMins)).as("space of a family")
	got(client.CopyMetricsByVolume(ctx, volume, gopowerstore.FiveMins)).as("copies of a volume")
	rates := got(client.VolumeMirrorTransferRate(ctx, volume)).as("transfer rate of a volume")
	holds("it is the volume's", len(rates) == 1 && rates[0].ID == volume)
}

func figuresOfGroup(client gopowerstore.Client, group string) {
	got(client.PerformanceMetricsByVg(ctx, group, gopowerstore.FiveMins)).as("performance of a group")
	got(client.SpaceMetricsByVolumeGroup(ctx, group, gopowerstore.FiveMins)).as("space of a group")
	got(client.CopyMetricsByVolumeGroup(ctx, group, gopowerstore.FiveMins)).as("copies of a group")
}
