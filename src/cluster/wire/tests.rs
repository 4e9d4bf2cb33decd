use proptest::prelude::*;

use super::*;
use crate::coordinator::heard::{HeardCommit, HeardEntries};
use crate::domain::{Amount, Balances, Currencies, Kind, Source, UserId};
use crate::tests::{check_part, spoiled_text};

fn currencies() -> Currencies {
    Currencies::default()
}

fn sender() -> Origin {
    Origin {
        epoch: "8c1f0a52d7e94b36".into(),
        node: "n3".into(),
        boot: Boot::parse("0198f2c4a").expect("a boot id"),
    }
}

fn commit(
    user: i64,
    from: i64,
    balances: (i64, i64),
    entries: &[(Kind, &str, u32)],
) -> HeardCommit {
    let all = currencies();
    let mut both = Balances::zero(all.count());
    for ((id, _), minor) in all.iter().zip([balances.0, balances.1]) {
        both.set(id, Amount::from_minor(minor));
    }
    let count: u32 = entries.iter().map(|(.., count)| count).sum();
    HeardCommit {
        user_id: UserId::new(user).expect("a user id"),
        version_from: from,
        version_to: from + i64::from(count),
        balances: both,
        entries: entries
            .iter()
            .map(|(kind, source, count)| HeardEntries {
                kind: *kind,
                source: Source::parse(source).expect("a source"),
                count: *count,
            })
            .collect(),
        committed_at: Wall::from_us(1_754_301_902_250_000),
        age_us: 412,
    }
}

#[test]
fn messages_have_the_form_of_the_protocol() {
    let entries = [(Kind::Deposit, "deposit", 1), (Kind::Reward, "farming", 1)];
    let users = [commit(184, 42, (100_000_000, 13_000_000_000), &entries)];
    let mut sequences = Sequences::default();
    for _ in 1..90_211 {
        sequences.next(Partition::of(users[0].user_id));
    }
    let messages = encode_commits(&sender(), &mut sequences, &users, 412, &currencies());
    let [(partition, message)] = &messages[..] else {
        panic!("one transaction, one partition: {messages:?}")
    };
    assert_eq!(
        std::str::from_utf8(message).expect("a text"),
        r#"{"v":1,"epoch":"8c1f0a52d7e94b36","node":"n3","boot":"0198f2c4a","part":11,"seq":90211,"at":1754301902250000,"age_us":412,"users":[[184,42,44,{"TON":100000000,"UNI":13000000000},[["deposit","deposit",1],["reward","farming",1]]]]}"#
    );
    let read = decode_commits(message).expect("readable");
    assert_eq!((read.partition, read.seq), (*partition, 90_211));
    assert_eq!(read.users(&currencies()).expect("readable"), users);

    let mut beat = Beat {
        origin: sender(),
        number: 8_812,
        seqs: sequences.latest(),
        backlog_us: 300,
        sessions: 96_120,
        is_leaving: false,
        heard: None,
        condition: None,
    };
    let written = encode_beat(&beat);
    assert_eq!(
        std::str::from_utf8(&written).expect("a text"),
        r#"{"v":1,"epoch":"8c1f0a52d7e94b36","node":"n3","boot":"0198f2c4a","beat":8812,"seqs":[0,0,0,0,0,0,0,0,0,0,0,90211,0,0,0,0],"backlog_us":300,"sessions":96120,"leaving":false}"#
    );
    assert_eq!(decode_beat(&written).expect("readable"), beat);
    beat.heard = Some([(Boot::parse("b").expect("a boot id"), 7)].into());
    assert_eq!(decode_beat(&encode_beat(&beat)).expect("readable"), beat);
}

#[test]
fn what_cannot_be_right_is_refused() {
    let good = r#"{"v":1,"epoch":"e","node":"n3","boot":"b","part":11,"seq":1,"at":1,"age_us":4,"users":[[184,42,43,{"TON":1,"UNI":2},[["deposit","deposit",1]]]]}"#;
    let read = |text: &str| {
        let message = decode_commits(text.as_bytes())?;
        message.users(&currencies())
    };
    read(good).expect("readable");
    read(&good.replace("\"at\"", "\"later\":[{}],\"at\"")).expect("a field of a later version");
    read(&good.replace(",\"UNI\":2", "")).expect("a currency that the sender doesn't have");
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("\"v\":1", "\"v\":\"1\""),
        ("\"v\":1,", ""),
        ("\"epoch\":\"e\"", "\"epoch\":\"\""),
        ("\"boot\":\"b\"", "\"boot\":\"b b\""),
        ("\"node\":\"n3\"", "\"node\":\"\\n\""),
        ("\"part\":11", "\"part\":16"),
        ("\"part\":11", "\"part\":10"),
        ("\"seq\":1", "\"seq\":0"),
        ("\"seq\":1", "\"seq\":-1"),
        ("\"seq\":1", "\"seq\":1.0"),
        ("\"seq\":1", "\"seq\":1,\"seq\":1"),
        ("[184,", "[0,"),
        ("[184,", "[9007199254740992,"),
        (",42,43,", ",42,44,"),
        (",42,43,", ",43,42,"),
        (",42,43,", ",-1,0,"),
        (",42,43,", ",9223372036854775807,0,"),
        ("\"TON\"", "\"EUR\""),
        ("\"UNI\":2", "\"TON\":2"),
        ("\"TON\":1", "\"TON\":1.5"),
        ("\"TON\":1", "\"TON\":9223372036854775808"),
        ("[\"deposit\",", "[\"refund\","),
        (",\"deposit\",1", ",\"a b\",1"),
        (",\"deposit\",1]", ",\"deposit\",0]"),
        (",\"deposit\",1]", ",\"deposit\"]"),
        ("[[\"deposit\",\"deposit\",1]]", "[]"),
        ("1]]]]}", "1]]]]"),
        ("1]]]]}", "1]],7]]}"),
        (
            "[[184,42,43,{\"TON\":1,\"UNI\":2},[[\"deposit\",\"deposit\",1]]]]",
            "[]",
        ),
    ] {
        let spoiled = good.replacen(from, to, 1);
        assert_ne!(spoiled, good, "{from}");
        assert!(read(&spoiled).is_err(), "{spoiled}");
    }
    let other = decode_commits(br#"{"v":2,"what":["a","later"],"version":"may","have":1}"#);
    assert!(matches!(other, Err(WireError::Version(2))), "{other:?}");
    let long = vec![b' '; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(decode_beat(&long), Err(WireError::TooLong(_))));
}

#[test]
fn a_change_that_is_too_long_is_a_number_that_is_missing() {
    let sources: Vec<String> = (0..7_000).map(|n| format!("{n:064}")).collect();
    let entries: Vec<_> = sources
        .iter()
        .map(|source| (Kind::Reward, source.as_str(), 1))
        .collect();
    let deposit = [(Kind::Deposit, "deposit", 1)];
    let users = [
        commit(184, 0, (1, 1), &deposit),
        commit(184, 1, (1, 1), &entries),
        commit(184, 7_001, (1, 1), &deposit),
    ];
    let mut sequences = Sequences::default();
    let messages = encode_commits(&sender(), &mut sequences, &users, 0, &currencies());
    let seqs: Vec<_> = messages
        .iter()
        .map(|(_, message)| decode_commits(message).expect("readable").seq)
        .collect();
    assert_eq!(seqs, [1, 3]);
}

#[test]
fn a_subject_has_one_topic() {
    let subjects = Subjects::new("balance");
    assert_eq!(subjects.of(Topic::Beat), "balance.v1.balance.beat");
    assert_eq!(subjects.of(Topic::Order), "balance.v1.balance.order");
    assert_eq!(
        subjects.topic("balance.v1.balance.order"),
        Some(Topic::Order)
    );
    assert_eq!(subjects.all(), "balance.v1.balance.>");
    for partition in Partition::all() {
        let topic = Topic::Commits(partition);
        assert_eq!(subjects.topic(subjects.of(topic)), Some(topic));
    }
    for other in [
        "balance.v1.balance.c.16",
        "balance.v1.other.beat",
        "balance.v1.other.order",
        "beat",
        "",
    ] {
        assert_eq!(subjects.topic(other), None, "{other}");
    }
}

#[test]
fn boots_differ_and_sort_by_time() {
    let at = |ms: i64| Boot::random(Wall::from_us(ms * 1_000));
    assert_ne!(at(5), at(5));
    assert!(at(1_754_301_902_250) < at(1_754_301_902_251));
    let boot = at(7);
    assert_eq!(Boot::parse(boot.as_str()), Some(boot));
}

fn changes() -> impl Strategy<Value = Vec<HeardCommit>> {
    let source = prop::sample::select(vec!["deposit", "farming", "a.b:c-d_9", "reward"]);
    let kind = prop::sample::select(Kind::ALL.to_vec());
    let entries = prop::collection::vec((kind, source, 1_u32..5), 1..4);
    let one = (
        prop_oneof![1_i64..200, 1..=UserId::MAX],
        prop_oneof![0_i64..5, 0..i64::MAX / 2],
        any::<(i64, i64)>(),
        entries,
    );
    let one = one.prop_map(|(user, from, both, entries)| commit(user, from, both, &entries));
    prop::collection::vec(one, 1..40)
}

#[test]
fn what_is_written_is_read_again_in_its_order() {
    check_part(4, changes(), |users| {
        let mut sequences = Sequences::default();
        let messages = encode_commits(&sender(), &mut sequences, &users, 412, &currencies());
        for partition in Partition::all() {
            let mut read = Vec::new();
            let own = messages.iter().filter(|(of, _)| *of == partition);
            for (index, (_, message)) in own.enumerate() {
                prop_assert!(message.len() <= MESSAGE_BYTES_MAX);
                let commits = decode_commits(message).expect("readable");
                prop_assert_eq!(&commits.origin, &sender());
                prop_assert_eq!(commits.seq, index as u64 + 1);
                read.extend(commits.users(&currencies()).expect("readable"));
            }
            let sent = users
                .iter()
                .filter(|user| Partition::of(user.user_id) == partition);
            prop_assert_eq!(read, sent.cloned().collect::<Vec<_>>());
        }
        Ok(())
    });
}

#[test]
fn a_long_transaction_is_split() {
    let entries = [(Kind::Reward, "farming", 1)];
    let users: Vec<_> = (0..12_000)
        .map(|version| commit(184, version, (1, 1), &entries))
        .collect();
    let mut sequences = Sequences::default();
    let messages = encode_commits(&sender(), &mut sequences, &users, 0, &currencies());
    let lengths: Vec<_> = messages.iter().map(|(_, message)| message.len()).collect();
    assert!(
        lengths.len() == 2 && lengths.iter().all(|length| *length <= MESSAGE_BYTES_MAX),
        "{lengths:?}"
    );
    let read: Vec<_> = messages
        .iter()
        .flat_map(|(_, message)| {
            let commits = decode_commits(message).expect("readable");
            commits.users(&currencies()).expect("readable")
        })
        .map(|user| user.version_to)
        .collect();
    assert_eq!(read, (1..=12_000).collect::<Vec<_>>());
}

#[test]
fn a_spoiled_message_is_an_error_or_sound() {
    let written = changes().prop_map(|users| {
        let mut sequences = Sequences::default();
        let messages = encode_commits(&sender(), &mut sequences, &users[..1], 412, &currencies());
        String::from_utf8(messages[0].1.clone()).expect("a text")
    });
    check_part(2, spoiled_text(written), |text| {
        let _ = decode_beat(text.as_bytes());
        let Ok(message) = decode_commits(text.as_bytes()) else {
            return Ok(());
        };
        prop_assert!(message.seq > 0);
        for user in message.users(&currencies()).unwrap_or_default() {
            prop_assert_eq!(Partition::of(user.user_id), message.partition);
            prop_assert!(user.version_from >= 0 && user.version_to > user.version_from);
        }
        Ok(())
    });
}

#[test]
fn a_spoiled_beat_is_an_error_or_a_beat() {
    let beats = (any::<[u64; PARTITIONS]>(), any::<u64>(), any::<bool>());
    let written = beats.prop_map(|(seqs, number, is_leaving)| {
        let beat = Beat {
            origin: sender(),
            number,
            seqs,
            backlog_us: number,
            sessions: number,
            is_leaving,
            heard: is_leaving.then(|| [(sender().boot, number)].into()),
            condition: (number % 2 == 0).then_some(Condition {
                covered: is_leaving,
                verified_age_ms: number,
                clock_skew_ms: number.cast_signed(),
            }),
        };
        let written = encode_beat(&beat);
        assert_eq!(decode_beat(&written).expect("readable"), beat);
        String::from_utf8(written).expect("a text")
    });
    check_part(2, spoiled_text(written), |text| {
        let _ = decode_beat(text.as_bytes());
        let _ = decode_commits(text.as_bytes());
        Ok(())
    });
}
