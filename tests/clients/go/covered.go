package main

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/dell/gopowerstore"
	"github.com/dell/gopowerstore/api"
)

// excluded are the calls of the client that are not driven, by the reason.
var excluded = map[string][]string{
	"asks the system nothing": {
		"APIClient", "GetCustomHTTPHeaders", "SetCustomHTTPHeaders", "SetLogger", "SetTraceID",
	},
	"metro volumes are not offered": {
		"ConfigureMetroVolume", "ConfigureMetroVolumeGroup", "EndMetroVolume", "EndMetroVolumeGroup",
	},
	"there are no file services": {
		"CloneFS", "CreateFS", "CreateFsFromSnapshot", "CreateFsSnapshot", "CreateNAS", "CreateNFSExport", "CreateNFSServer",
		"CreateSMBShare", "DeleteFS", "DeleteFsSnapshot", "DeleteNAS", "DeleteNFSExport", "DeleteSMBShare", "GetFS", "GetFSByName",
		"GetFileInterface", "GetFsByFilter", "GetFsSnapshot", "GetFsSnapshots", "GetFsSnapshotsByVolumeID",
		"GetInProgressJobsByFsName", "GetNAS", "GetNASByName", "GetNASServers", "GetNFSExport", "GetNFSExportByFileSystemID",
		"GetNFSExportByFilter", "GetNFSExportByName", "GetNfsServer", "GetSMBShare", "GetSMBShareACL", "GetSMBShares", "ListFS",
		"ModifyFS", "ModifyNFSExport", "ModifySMBShare", "SetSMBShareACL",
		"PerformanceMetricsByFileSystem", "PerformanceMetricsNfsByNode", "PerformanceMetricsNfsv3ByNode",
		"PerformanceMetricsNfsv4ByNode", "PerformanceMetricsSmb1BuiltinclientByNode", "PerformanceMetricsSmb1ByNode",
		"PerformanceMetricsSmb2BuiltinclientByNode", "PerformanceMetricsSmb2ByNode", "PerformanceMetricsSmbBranchCacheByNode",
		"PerformanceMetricsSmbBuiltinclientByNode", "PerformanceMetricsSmbByNode",
	},
	"there are no storage containers and no virtual machines": {
		"CreateStorageContainer", "DeleteStorageContainer", "GetStorageContainer", "ModifyStorageContainer",
		"PerformanceMetricsByVM", "SpaceMetricsByStorageContainer", "SpaceMetricsByVM",
	},
	"ports and drives are the machine's": {
		"PerformanceMetricsByFeEthNode", "PerformanceMetricsByFeEthPort", "PerformanceMetricsByFeFcNode",
		"PerformanceMetricsByFeFcPort", "WearMetricsByDrive",
	},
}

// driven are the calls that asked a system for something.
var driven = map[string]bool{}

// recorder passes requests on and writes down which call of the client each is for.
type recorder struct{ api.Client }

func (r recorder) Query(ctx context.Context, config api.RequestConfigRenderer, into interface{}) (api.RespMeta, error) {
	counters := make([]uintptr, 64)
	frames := runtime.CallersFrames(counters[:runtime.Callers(2, counters)])
	asked := ""
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		// The outermost counts: a call that others make on the way is not driven by that.
		if _, method, is := strings.Cut(frame.Function, "/gopowerstore.(*ClientIMPL)."); is {
			asked, _, _ = strings.Cut(method, ".")
		}
	}
	driven[asked] = true
	return r.Client.Query(ctx, config, into)
}

func recorded(client gopowerstore.Client) gopowerstore.Client {
	return &gopowerstore.ClientIMPL{API: recorder{client.APIClient()}}
}

// covered holds when every call that the client offers is driven, or excluded with a reason.
func covered() {
	offered := reflect.TypeFor[gopowerstore.Client]()
	reasons := map[string]string{}
	for reason, names := range excluded {
		for _, name := range names {
			_, exists := offered.MethodByName(name)
			if !exists || driven[name] || reasons[name] != "" {
				fail("exclusions", fmt.Errorf("%s is none of the client's calls, driven, or excluded twice", name))
			}
			reasons[name] = reason
		}
	}
	left := []string{}
	count := 0
	for index := range offered.NumMethod() {
		name := offered.Method(index).Name
		if driven[name] {
			count++
		} else if reasons[name] == "" {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		fail("every call is driven or excluded", fmt.Errorf("neither: %s", strings.Join(left, ", ")))
	}
	fmt.Printf("ok every call is driven or excluded: %d of %d are driven\n", count, offered.NumMethod())
}
