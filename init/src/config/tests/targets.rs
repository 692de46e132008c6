//! Targets, their LUNs and passwords, and namespaces.

use super::*;

#[test]
fn luns_may_have_another_vendor_product_and_block_size() {
    let text = GOOD.replacen(
        "[pool.iscsi]\n",
        "[pool.iscsi]\nvendor = \"A&B Inc.\"\nproduct = \"Store 16\"\n",
        1,
    );
    let text = text.replacen("lun = 1\n", "lun = 1\nblock_size = 4096\n", 1);
    let config = Config::parse(&text).unwrap();
    let target = &config.pools[0].targets[0];
    assert_eq!(target.vendor.as_deref(), Some("A&B Inc."));
    assert_eq!(target.product.as_deref(), Some("Store 16"));
    let Luns::Listed(luns) = &target.luns else {
        panic!("listed")
    };
    let sizes: Vec<Option<u32>> = luns.iter().map(|lun| lun.block_size).collect();
    assert_eq!(sizes, [None, Some(4096)]);
    let plain = &config.pools[1].targets[0];
    assert_eq!((&plain.vendor, &plain.product), (&None, &None));
}

#[test]
fn namespaces_are_read_and_a_volume_is_offered_in_one_way() {
    const NVME: &str = "[pool.nvme]\nnqn = \"nqn.2026-01.org.orthrus:bulk\"\n\
        hosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]\n\
        [[pool.nvme.namespace]]\nnsid = 1\nvolume = \"fast\"\n";
    let said = |nvme: &str| Config::parse(&format!("{GOOD}{nvme}"));
    let bulk = said(NVME).unwrap().pools[1].clone();
    assert!(bulk.keeps_from_luns("fast") && !bulk.keeps_from_luns("slow"));
    let nvme = bulk.nvme.unwrap();
    assert_eq!((nvme.namespaces[0].nsid, nvme.hosts.len()), (1, 1));
    let second = "[[pool.nvme.namespace]]\nnsid = 1\nvolume = \"other\"\n";
    let share = "[[pool.nfs.share]]\nvolume = \"fast\"\nclients = \"10.77.0.0/24\"\n";
    for (text, says) in [
        (NVME.replace("nsid = 1", "nsid = 0"), "from 1 to 1024"),
        (NVME.replace("nqn.2026", "iqn.2026"), "an NVMe name"),
        (
            NVME.replace("\"fast\"", "\"orthrus_state\""),
            "never exported",
        ),
        (
            NVME.replace(
                "hosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]",
                "hosts = []",
            ),
            "1 to 64",
        ),
        (format!("{NVME}{second}"), "the same namespace"),
        (format!("{NVME}{share}"), "the same volume"),
        (
            NVME.split("[[").next().unwrap().to_owned(),
            "tables [[pool.nvme.namespace]]",
        ),
    ] {
        let error = said(&text).unwrap_err();
        assert!(error.message.contains(says), "{error}");
    }
}

#[test]
fn passwords_are_in_no_output_and_wrong_ones_say_what_is_allowed() {
    let chap = "[[pool.iscsi.chap]]\nclient = \"iqn.1993-08.org.debian:01:client\"\nuser = \"u\"\npassword = \"correct-horse\"\n";
    let with =
        |from: &str, to: &str| Config::parse(&format!("{GOOD}{}", chap.replacen(from, to, 1)));
    let config = with("", "").unwrap();
    let known = &config.pool("bulk").unwrap().targets[0].chap;
    assert_eq!(known[0].password.expose(), "correct-horse");
    assert!(!format!("{config:?}").contains("horse"));
    for (from, to, field, says) in [
        (":client", ":nobody", "client", "one of the pool's clients"),
        ("\"u\"", "\"a b\"", "user", "without blanks"),
        ("correct-horse", "short", "password", "12 to 16"),
        (
            "correct-horse",
            "a much too long one",
            "password",
            "12 to 16",
        ),
        ("user", "name = 1\nuser", "name", "mutual_user"),
        (
            "user",
            "mutual_user = \"t\"\nuser",
            "mutual_password",
            "12 to 16",
        ),
        (
            "user",
            "mutual_user = \"t\"\nmutual_password = \"correct-horse\"\nuser",
            "mutual_password",
            "another one",
        ),
    ] {
        let error = with(from, to).unwrap_err();
        assert!(
            error
                .field
                .starts_with(&format!("pool[1].iscsi.chap[0].{field}")),
            "{error}"
        );
        assert!(error.message.contains(says), "{error}");
        assert!(!error.to_string().contains("horse"), "{error}");
    }
    let twice = Config::parse(&format!("{GOOD}{chap}{chap}")).unwrap_err();
    assert!(
        twice.message.contains("the same client with a password"),
        "{twice}"
    );
}

#[test]
fn a_pool_has_several_targets_of_which_one_may_have_all_that_the_others_do_not_list() {
    let (before, tank) = GOOD.split_once("[pool.iscsi]").unwrap();
    let second = "[[pool.iscsi]]\niqn = \"iqn.2026-01.org.orthrus:second\"\nclients = [\"iqn.1993-08.org.debian:01:other\"]\nluns = \"all\"\n";
    let with = |from: &str, to: &str| {
        let second = second.replacen(from, to, 1);
        let (listed, bulk) = tank.split_once("\n[[pool]]").unwrap();
        Config::parse(&format!(
            "{before}[[pool.iscsi]]{listed}{second}\n[[pool]]{bulk}"
        ))
    };
    let config = with("", "").unwrap();
    let pool = config.pool("tank").unwrap();
    assert_eq!(pool.targets.len(), 2);
    assert_eq!(pool.targets[1].luns, Luns::All);
    assert!(pool.lists("vol0") && pool.lists("vol1") && !pool.lists("vol2"));
    let list = |lun: &str| format!("[[pool.iscsi.lun]]\n{lun}\n");
    // A number is a target's own.
    let fresh = list("lun = 0\nvolume = \"vol2\"");
    assert!(with("luns = \"all\"\n", &fresh).is_ok());
    let all_twice = GOOD.replacen(
        "luns = \"all\"\n",
        &format!("luns = \"all\"\n{}", second.replacen("second", "third", 1)),
        1,
    );
    let all_twice = all_twice.replace(
        "[pool.iscsi]\niqn = \"iqn.2026-01.org.orthrus:bulk",
        "[[pool.iscsi]]\niqn = \"iqn.2026-01.org.orthrus:bulk",
    );
    for (error, field, says) in [
        (
            Config::parse(&all_twice).unwrap_err(),
            "pool[1].iscsi[1].luns",
            "for one target of a pool",
        ),
        (
            with("orthrus:second", "orthrus:tank").unwrap_err(),
            "pool[0].iscsi[1].iqn",
            "the same target name",
        ),
        (
            with("luns = \"all\"\n", &list("lun = 0\nvolume = \"vol1\"")).unwrap_err(),
            "pool[0].iscsi[1].lun[0].volume",
            "the same volume",
        ),
        (
            with(
                "luns = \"all\"\n",
                &format!("luns = \"all\"\n{}", second.repeat(8)),
            )
            .unwrap_err(),
            "pool[0].iscsi[8]",
            "at most 8",
        ),
    ] {
        assert_eq!(error.field, field, "{error}");
        assert!(error.message.contains(says), "{error}");
    }
}
