"""The life of a protected volume and of a protected group, driven by PyPowerStore against two paired clusters.

Arguments: a JSON object {"a": {"host", "port", "username", "password"}, "b": {...}}. Prints one line for each step that held; ends
with a traceback and exit code 1 at the first that did not.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
from PyPowerStore.powerstore_conn import PowerStoreConn  # noqa: E402
from PyPowerStore.utils.exception import PowerStoreException  # noqa: E402

MIB = 1024 * 1024


def connect(site):
    return PowerStoreConn(
        site["username"], site["password"], site["host"], verify=False,
        application_type="conformance/1.0", timeout=120.0, port_no=site["port"],
    )


def check(what, held):
    if not held:
        raise AssertionError(what)
    print("ok " + what, flush=True)


def refused(what, code, call):
    try:
        call()
    except PowerStoreException as error:
        check(f"{what}: {code}", code in str(error))
        return
    raise AssertionError(what + ": was not refused")


def state(conn, session, *wanted):
    """Waits, within bounds, until a session is in one of the states."""
    deadline = time.monotonic() + 60
    while True:
        found = conn.protection.get_replication_session_details(session)
        if found["state"] in wanted:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"the session is {found['state']}, not {wanted}")
        time.sleep(0.2)


def session_of(conn, resource):
    found = conn.protection.get_replication_sessions(filter_dict={"local_resource_id": f"eq.{resource}"})
    check("one session for the resource", len(found) == 1)
    return found[0]["id"]


def platform(conn):
    config = conn.config_mgmt
    check("version", conn.provisioning.get_array_version() == "4.1.0.0"[:7] or conn.provisioning.get_array_version().startswith("4.1"))
    check("clusters", len(config.get_clusters()) == 1)
    check("appliances", config.get_appliances()[0]["id"] == "A1")
    check("nodes", len(conn.provisioning.get_nodes()) >= 1)
    check("networks", isinstance(config.get_networks(), list))
    check("addresses", isinstance(config.get_ip_pool_address(), list))
    check("roles", any(role["name"] == "Administrator" for role in config.get_roles()))
    check("chap", config.get_chap_configs()[0]["id"] == "0")
    check("certificates", isinstance(config.get_certificates(), list))
    check("security", config.get_security_config_details("1")["protocol_mode"] == "TLSv1_2")
    check("dns and ntp", len(config.get_dns_list()) == 1 and len(config.get_ntp_list()) == 1)
    check("file services are empty", conn.provisioning.get_nas_servers() == [])


def users(conn):
    config = conn.config_mgmt
    role = config.get_role_by_name("Storage Operator")
    role_id = (role[0] if isinstance(role, list) else role)["id"]
    made = config.create_local_user({"name": "py-operator", "password": "Rehearsal-1", "role_id": role_id})
    check("user created", config.get_local_user_details(made["id"])["name"] == "py-operator")
    check("user by name", bool(config.get_local_user_by_name("py-operator")))
    config.delete_local_user(made["id"])
    check("user deleted", not [u for u in config.get_local_users() if u["id"] == made["id"]])


def provisioning(conn):
    p, q = conn.provisioning, conn.protection
    made = p.create_volume("py-vol", 16 * MIB, description="made by a client")
    volume = p.get_volume_by_name("py-vol")[0]
    check("volume created", volume["size"] == 16 * MIB and volume["type"] == "Primary")
    check("same by id", p.get_volume_details(volume["id"])["name"] == "py-vol")
    refused("name in use", "0xE0A080010014", lambda: p.create_volume("py-vol", 16 * MIB))
    p.modify_volume(volume["id"], name="py-vol-2", size=32 * MIB)
    check("volume modified", p.get_volume_details(volume["id"])["size"] == 32 * MIB)
    host = p.create_host("py-host", "Linux", [{"port_name": "iqn.1998-01.org.example:py", "port_type": "iSCSI"}])
    host_id = p.get_host_by_name("py-host")[0]["id"]
    p.add_initiators_to_host(host_id, [{"port_name": "iqn.1998-01.org.example:py2", "port_type": "iSCSI"}])
    check("initiators", len(p.get_host_details(host_id)["host_initiators"]) == 2)
    p.remove_initiators_from_host(host_id, ["iqn.1998-01.org.example:py2"])
    p.map_volume_to_host(volume["id"], host_id, logical_unit_number=5)
    check("mapped", p.get_host_volume_mapping(volume["id"])[0]["host_id"] == host_id)
    refused("a mapped volume is not deleted", "0xE0A080020001", lambda: p.delete_volume(volume["id"]))
    p.unmap_volume_from_host(volume["id"], host_id)
    check("unmapped", p.get_host_volume_mapping(volume["id"]) == [])
    p.create_host_group("py-group", [host_id])
    group_id = p.get_host_group_by_name("py-group")[0]["id"]
    p.map_volume_to_host_group(volume["id"], group_id)
    p.unmap_volume_from_host_group(volume["id"], group_id)
    p.delete_host_group(group_id)
    p.delete_host(host_id)
    check("hosts cleaned up", p.get_hosts() == [])
    snapshot = q.create_volume_snapshot(volume["id"], name="py-snap", description="point")
    check("snapshots", len(q.get_volume_snapshots(volume["id"])) == 1)
    clone = p.clone_volume(volume["id"], name="py-clone")
    clone_id = p.get_volume_by_name("py-clone")[0]["id"]
    p.refresh_volume(clone_id, volume["id"], create_backup_snap=False)
    p.restore_volume(volume["id"], snapshot["id"], create_backup_snap=False)
    for gone in (clone_id, volume["id"]):
        p.delete_volume(gone)
    check("volumes cleaned up", p.get_volumes(filter_dict={"name": "like.py-*"}) == [])
    refused("gone is 404", "404", lambda: p.get_volume_details(volume["id"]))


def protect(a, b, resource, assign, unassign, rule_name):
    """Protects a resource, takes it through every verb, and brings it home; answers the policy and rule for cleaning up."""
    remote = a.protection.get_remote_systems()[0]["id"]
    rule = a.protection.create_replication_rule(name=rule_name, rpo="One_Hour", remote_system_id=remote)
    policy = a.protection.create_protection_policy(rule_name, replication_rule_ids=[rule["id"]])
    assign(policy["id"])
    session = session_of(a, resource)
    state(a, session, "OK")
    a.protection.sync_replication_session(session)
    state(a, session, "OK")
    a.protection.pause_replication_session(session)
    state(a, session, "Paused")
    a.protection.resume_replication_session(session)
    state(a, session, "OK")
    check("the other side is the destination", state(b, session, "OK")["role"] == "Destination")
    a.protection.failover_replication_session(session, is_planned=True)
    state(b, session, "Failed_Over")
    b.protection.reprotect_replication_session(session)
    check("direction changed", state(b, session, "OK")["role"] == "Source")
    b.protection.failover_replication_session(session, is_planned=True, reverse=True)
    check("brought home", state(a, session, "OK")["role"] == "Source")
    unassign()
    refused("the session is gone", "404", lambda: a.protection.get_replication_session_details(session))
    a.protection.delete_protection_policy(policy["id"])
    a.protection.delete_replication_rule(rule["id"])
    check("protection cleaned up", True)


def protected_volume(a, b):
    p = a.provisioning
    p.create_volume("py-protected", 8 * MIB)
    volume = p.get_volume_by_name("py-protected")[0]["id"]
    protect(
        a, b, volume,
        lambda policy: p.add_protection_policy_for_volume(volume, policy),
        lambda: p.remove_protection_policy_for_volume(volume),
        "py-volume-rule",
    )
    p.delete_volume(volume)
    copy = b.provisioning.get_volume_by_name("py-protected")[0]
    b.provisioning.delete_volume(copy["id"])
    check("volumes of both sides are gone", b.provisioning.get_volumes(filter_dict={"name": "eq.py-protected"}) == [])


def protected_group(a, b):
    p, q = a.provisioning, a.protection
    ids = []
    for name in ("py-member-1", "py-member-2"):
        p.create_volume(name, 8 * MIB)
        ids.append(p.get_volume_by_name(name)[0]["id"])
    p.create_volume_group("py-set", volume_ids=ids[:1], is_write_order_consistent=True)
    group = p.get_volume_group_by_name("py-set")[0]["id"]
    p.add_members_to_volume_group(group, ids[1:])
    check("members", len(p.get_volume_group_details(group)["volumes"]) == 2)
    q.create_volume_group_snapshot(group, name="py-set-snap")
    check("snapshot sets", len(q.get_volume_group_snapshots(group)) == 1)
    protect(
        a, b, group,
        lambda policy: p.modify_volume_group(group, protection_policy_id=policy),
        lambda: p.modify_volume_group(group, protection_policy_id=""),
        "py-group-rule",
    )
    p.remove_members_from_volume_group(group, ids)
    for snapshot in q.get_volume_group_snapshots(group):
        q.delete_volume_group_snapshot(snapshot["id"])
    p.delete_volume_group(group)
    for volume in ids:
        p.delete_volume(volume)
    check("the group and its members are gone", p.get_volumes(filter_dict={"name": "like.py-member*"}) == [])


def metrics(conn):
    rows = conn.metrics.get_performance_metrics("space_metrics_by_cluster", "0", "Five_Mins")
    check("metrics", rows and rows[-1]["physical_total"] > 0)


def main():
    sites = json.loads(sys.argv[1])
    a, b = connect(sites["a"]), connect(sites["b"])
    platform(a)
    users(a)
    metrics(a)
    provisioning(a)
    protected_volume(a, b)
    protected_group(a, b)


if __name__ == "__main__":
    main()
