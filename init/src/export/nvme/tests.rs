//! The order of the steps, that each can be repeated, and that every half-built state can be left.

use std::time::Duration;

use rustix::io::Errno;

use super::super::iscsi::fake::Fake;
use super::*;
use crate::export::Cause;

const LIMIT: Duration = Duration::from_secs(60);

fn nvmet() -> Nvmet<Fake> {
    Nvmet::at("/nvmet", LIMIT, Fake::nvmet("/nvmet"))
}

fn plan() -> NvmePlan {
    let namespace = |nsid: u32| NamespacePlan {
        nsid,
        volume: format!("vol{nsid}"),
        node: format!("/dev/dm-{nsid}").into(),
        uuid: format!("00000000-0000-8000-8000-00000000000{nsid}"),
    };
    NvmePlan {
        place: 1,
        nqn: "nqn.2026-01.org.orthrus:tank".to_owned(),
        serial: "00112233445566778899".to_owned(),
        portals: vec![
            "10.77.0.10:4420".parse().unwrap(),
            "[fd00:77::10]:4420".parse().unwrap(),
        ],
        hosts: vec!["nqn.2014-08.org.nvmexpress:uuid:1".to_owned()],
        namespaces: vec![namespace(1), namespace(2)],
    }
}

#[test]
fn it_listens_when_all_the_rest_stands_and_not_a_step_before() {
    let nvmet = nvmet();
    nvmet.open(&plan()).unwrap();
    let changes = nvmet.fake().changes();
    let at = |what: &str| {
        let found = changes.iter().position(|change| change.contains(what));
        found.unwrap_or_else(|| panic!("no {what} in {changes:#?}"))
    };
    let listens = at("ports/9/subsystems/nqn.2026-01.org.orthrus:tank");
    for before in [
        "namespaces/1/enable 1",
        "namespaces/2/enable 1",
        "allowed_hosts/nqn.2014-08.org.nvmexpress:uuid:1",
        "ports/9/addr_traddr 10.77.0.10",
    ] {
        assert!(at(before) < listens, "{before}");
    }
    assert!(at("ports/10/addr_traddr fd00:77::10") < at("ports/10/subsystems/"));
    nvmet.fake().forget();
    // Again: nothing but a look at the sizes.
    assert_eq!(nvmet.open(&plan()), Ok(Step::Already));
    let again = nvmet.fake().changes();
    assert_eq!(again.len(), 2, "{again:#?}");
    assert!(
        again
            .iter()
            .all(|change| change.contains("revalidate_size 1"))
    );
    nvmet.fake().forget();
    nvmet.close(&plan()).unwrap();
    let closed = nvmet.fake().changes();
    assert!(closed[0].contains("ports/10/subsystems/"), "{closed:#?}");
    assert!(closed[closed.len() - 1].ends_with("subsystems/nqn.2026-01.org.orthrus:tank"));
    assert_eq!(nvmet.close(&plan()), Ok(Step::Already));
}

#[test]
fn every_half_built_state_can_be_left_and_retried() {
    let whole = nvmet();
    whole.open(&plan()).unwrap();
    for step in 0..whole.fake().changes().len() {
        let nvmet = nvmet();
        nvmet.fake().fail_at(step, Errno::IO);
        let error = nvmet.open(&plan()).unwrap_err();
        assert_eq!(error.cause, Cause::Kernel(Errno::IO), "step {step}");
        nvmet.close(&plan()).unwrap();
        let left = nvmet.fake().left();
        assert!(
            left.iter().all(|path| path.contains("/hosts/")),
            "step {step}: {left:#?}"
        );
        assert_eq!(nvmet.open(&plan()), Ok(Step::Changed), "step {step}");
    }
}

#[test]
fn a_namespace_goes_alone() {
    let nvmet = nvmet();
    nvmet.open(&plan()).unwrap();
    nvmet.fake().forget();
    nvmet.withdraw(&plan(), &plan().namespaces[1]).unwrap();
    let changes = nvmet.fake().changes();
    // A client that died in the middle of a write would be waited for: connections end with the ports.
    let at = |what: &str| changes.iter().position(|change| change.contains(what));
    let ports = changes.iter().filter(|change| change.contains("/ports/"));
    assert_eq!(ports.count(), plan().portals.len(), "{changes:#?}");
    assert_eq!(changes.len(), plan().portals.len() + 2, "{changes:#?}");
    assert!(at("/ports/") < at("namespaces/2/enable 0"));
    assert_eq!(nvmet.open(&plan()), Ok(Step::Changed));
    assert_eq!(nvmet.open(&plan()), Ok(Step::Already));
}

#[test]
fn a_host_is_shut_out_with_its_connections_and_no_other() {
    let nvmet = nvmet();
    let mut plan = plan();
    let gone = "nqn.2026-01.org.example:gone".to_owned();
    plan.hosts.push(gone.clone());
    nvmet.open(&plan).unwrap();
    nvmet.fake().forget();
    nvmet.dismiss(&plan, &gone).unwrap();
    let changes = nvmet.fake().changes();
    let at = |what: &str| changes.iter().position(|change| change.contains(what));
    assert_eq!(changes.len(), plan.portals.len() + 1, "{changes:#?}");
    // It could come back between the two.
    assert!(at("/ports/") < at(&format!("allowed_hosts/{gone}")));
    plan.hosts.pop();
    assert_eq!(nvmet.open(&plan), Ok(Step::Changed));
    assert_eq!(nvmet.open(&plan), Ok(Step::Already));
}
