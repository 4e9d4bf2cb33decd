//! Init data from Telegram's documentation, init data as a bot gets it, and damaged init data.

use ed25519_dalek::{Signer as _, SigningKey};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::credentials::telegram::*;

const TOKEN: &str = "7000000001:AAE-a-token-of-no-bot-for-tests-only";
const BOT_ID: u64 = 7_000_000_001;
const NOW_S: i64 = 1_754_301_900;
const MAX_AGE_S: u64 = 3600;
const USER: &str = r#"{"id":184,"first_name":"Ana \u0026 \"Bo\"","last_name":"Ж+=&%","language_code":"ru","allows_write_to_pm":true}"#;

/// The examples of Telegram Mini Apps' documentation: a hash made by a bot's token, and Telegram's own signature.
const PUBLISHED_HASH: (&str, &str, i64) = (
    "5768337691:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8",
    "query_id=AAHdF6IQAAAAAN0XohDhrOrc&user=%7B%22id%22%3A279058397%2C%22first_name%22%3A%22Vladislav%22%2C%22last_name\
     %22%3A%22Kibenko%22%2C%22username%22%3A%22vdkfrost%22%2C%22language_code%22%3A%22ru%22%2C%22is_premium%22%3Atrue%7D\
     &auth_date=1662771648&hash=c501b71e775f74ce10e377dea85a7ea24ecd640b223ea86dfe453e0eaed2e2b2",
    1_662_771_648,
);
const PUBLISHED_SIGNATURE: (u64, &str, i64) = (
    7_342_037_359,
    "user=%7B%22id%22%3A279058397%2C%22first_name%22%3A%22Vladislav%20%2B%20-%20%3F%20%5C%2F%22%2C%22last_name%22%3A%22\
     Kibenko%22%2C%22username%22%3A%22vdkfrost%22%2C%22language_code%22%3A%22ru%22%2C%22is_premium%22%3Atrue%2C%22\
     allows_write_to_pm%22%3Atrue%2C%22photo_url%22%3A%22https%3A%5C%2F%5C%2Ft.me%5C%2Fi%5C%2Fuserpic%5C%2F320%5C%2F\
     4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg%22%7D&chat_instance=8134722200314281151&chat_type=private\
     &auth_date=1733584787&hash=2174df5b000556d044f3f020384e879c8efcab55ddea2ced4eb752e93e7080d6\
     &signature=zL-ucjNyREiHDE8aihFwpfR9aggP2xiAo3NSpfe-p7IbCisNlDKlo7Kb6G4D0Ao2mBrSgEk4maLSdv6MLIlADQ",
    1_733_584_787,
);

type Pairs = Vec<(&'static str, String)>;

fn by_token(token: &str) -> Telegram {
    Telegram {
        proof: Proof::of_token(token),
        max_age_s: MAX_AGE_S,
    }
}

fn by_key(bot_id: u64, key: VerifyingKey) -> Telegram {
    Telegram {
        proof: Proof::Signature { bot_id, key },
        max_age_s: MAX_AGE_S,
    }
}

fn pairs(user: &str, auth_date: &str) -> Pairs {
    [
        ("query_id", "AAHdF6IQAAAAAN0XohDhrOrc"),
        ("user", user),
        ("auth_date", auth_date),
        ("start_param", ""),
        ("signature", "c2ln"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// The check string, computed in another way than the code under test.
fn lines(pairs: &Pairs, without: &[&str]) -> String {
    let mut lines: Vec<String> = pairs
        .iter()
        .filter(|(name, _)| !without.contains(name))
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    lines.sort();
    lines.join("\n")
}

fn encoded(pairs: &Pairs) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs).finish()
}

fn hashed(token: &str, mut pairs: Pairs) -> Pairs {
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let hash = mac(&mac(b"WebAppData", token), &lines(&pairs, &[]));
    pairs.push(("hash", hex::encode(hash)));
    pairs
}

fn signed(key: &SigningKey, bot_id: u64, mut pairs: Pairs) -> Pairs {
    pairs.retain(|(name, _)| *name != "signature");
    let signature =
        key.sign(format!("{bot_id}:WebAppData\n{}", lines(&pairs, &["hash"])).as_bytes());
    pairs.push(("signature", URL_SAFE_NO_PAD.encode(signature.to_bytes())));
    pairs.push(("hash", "00".repeat(32)));
    pairs
}

fn good() -> String {
    encoded(&hashed(TOKEN, pairs(USER, &NOW_S.to_string())))
}

fn id(result: Result<TelegramId, InitDataError>) -> Result<i64, InitDataError> {
    result.map(TelegramId::get)
}

#[test]
fn the_published_examples_are_valid() {
    let (token, init_data, at_s) = PUBLISHED_HASH;
    assert_eq!(id(by_token(token).verify(init_data, at_s)), Ok(279_058_397));
    let (bot_id, init_data, at_s) = PUBLISHED_SIGNATURE;
    let telegram = by_key(bot_id, telegram_key());
    assert_eq!(id(telegram.verify(init_data, at_s)), Ok(279_058_397));
    assert_eq!(
        telegram.verify(init_data, at_s + 3601),
        Err(InitDataError::TooOld)
    );
    assert_eq!(
        by_key(bot_id + 1, telegram_key()).verify(init_data, at_s),
        Err(InitDataError::Proof)
    );
    for (from, to) in [
        ("279058397", "279058398"),
        ("zL-uc", "zL-ud"),
        ("1733584787", "1733584788"),
        ("LIlADQ", "LIlADR"),
    ] {
        assert_eq!(
            telegram.verify(&init_data.replace(from, to), at_s),
            Err(InitDataError::Proof),
            "{to}"
        );
    }
    // The hash is only for the bot, and not part of the signed text.
    assert_eq!(
        id(telegram.verify(&init_data.replace("hash=2174", "hash=2175"), at_s)),
        Ok(279_058_397)
    );
}

#[test]
fn either_proof_accepts_data_made_for_this_bot_and_gives_its_user() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let init_data = encoded(&signed(&key, BOT_ID, pairs(USER, &NOW_S.to_string())));
    assert_eq!(
        id(by_key(BOT_ID, key.verifying_key()).verify(&init_data, NOW_S)),
        Ok(184)
    );
    assert_eq!(id(by_token(TOKEN).verify(&good(), NOW_S)), Ok(184));
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    for telegram in [
        by_key(BOT_ID, other),
        by_key(BOT_ID + 1, key.verifying_key()),
        by_token(TOKEN),
    ] {
        assert_eq!(
            telegram.verify(&init_data, NOW_S),
            Err(InitDataError::Proof)
        );
    }
    for telegram in [
        by_token("7000000001:another"),
        by_key(BOT_ID, key.verifying_key()),
    ] {
        assert_eq!(telegram.verify(&good(), NOW_S), Err(InitDataError::Proof));
    }
}

#[test]
fn data_is_accepted_from_slightly_before_its_time_until_it_is_too_old() {
    for (age_s, expected) in [
        (0, Ok(184)),
        (3600, Ok(184)),
        (3601, Err(InitDataError::TooOld)),
        (NOW_S - 1, Err(InitDataError::TooOld)),
        (-30, Ok(184)),
        (-31, Err(InitDataError::Future)),
        (-1_000_000, Err(InitDataError::Future)),
    ] {
        let init_data = encoded(&hashed(TOKEN, pairs(USER, &(NOW_S - age_s).to_string())));
        assert_eq!(
            id(by_token(TOKEN).verify(&init_data, NOW_S)),
            expected,
            "{age_s} s old"
        );
    }
}

#[test]
fn data_that_telegram_never_sends_is_refused_even_with_a_valid_hash() {
    let at = NOW_S.to_string();
    for (user, auth_date) in [
        (r#"{"id":0}"#, at.as_str()),
        (r#"{"id":-184}"#, &at),
        (r#"{"id":9007199254740992}"#, &at),
        (r#"{"id":184.0}"#, &at),
        (r#"{"id":"184"}"#, &at),
        (r#"{"id":null}"#, &at),
        (r#"{"id":184,"id":185}"#, &at),
        (r#"{"ID":184}"#, &at),
        (r"[184]", &at),
        ("184", &at),
        ("", &at),
        (r#"{"id":184} {"id":185}"#, &at),
        (USER, ""),
        (USER, "0"),
        (USER, "01754301900"),
        (USER, "+1754301900"),
        (USER, "1754301900.0"),
        (USER, "99999999999999999999"),
    ] {
        let init_data = encoded(&hashed(TOKEN, pairs(user, auth_date)));
        assert!(
            by_token(TOKEN).verify(&init_data, NOW_S).is_err(),
            "{user} {auth_date}"
        );
    }
    assert_eq!(
        id(by_token(TOKEN).verify(
            &encoded(&hashed(TOKEN, pairs(r#"{"id":9007199254740991}"#, &at))),
            NOW_S
        )),
        Ok((1 << 53) - 1)
    );
    for (name, is_plain) in [
        ("later_2", true),
        ("", false),
        ("User", false),
        ("us er", false),
        ("u%65", false),
        ("ü", false),
    ] {
        let mut more = pairs(r#"{"id":184}"#, &at);
        more.push((name, "x".to_owned()));
        let hashed = hashed(TOKEN, more);
        let text = hashed
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(
            by_token(TOKEN).verify(&text, NOW_S).is_ok(),
            is_plain,
            "a field named {name:?}"
        );
    }
    for missing in ["user", "auth_date"] {
        let mut left = pairs(USER, &at);
        left.retain(|(name, _)| *name != missing);
        assert!(
            by_token(TOKEN)
                .verify(&encoded(&hashed(TOKEN, left)), NOW_S)
                .is_err(),
            "without {missing}"
        );
    }
}

#[test]
fn a_text_that_could_be_read_in_two_ways_is_refused() {
    let good = good();
    let hash = good.rsplit_once("&hash=").expect("a hash").1.to_owned();
    let user = encoded(&vec![("user", r#"{"id":185}"#.to_owned())]);
    for spoiled in [
        String::new(),
        "&".to_owned(),
        format!("{good}&"),
        format!("&{good}"),
        format!("{good}&{user}"),
        format!("{user}&{good}"),
        format!("{good}&hash={hash}"),
        format!("{good}&x"),
        format!("{good}&=x"),
        format!("{good}&User=x"),
        format!("{good}&us%65r=x"),
        good.replace(&hash, &hash.to_uppercase()),
        good.replace(&hash, &hash[..62]),
        good.replace(&hash, &format!("{hash}00")),
        good.replace(&hash, &format!("{hash}%00")),
        good.replace(&hash, ""),
        good.replace("&hash=", "&hash=%20"),
        good.replace("&start_param=", "&start_param=%zz"),
        good.replace("&start_param=", "&start_param=%"),
        good.replace("&start_param=", "&start_param=%ff"),
        // One field that gives the same lines as two.
        good.replace("&signature=c2ln", "").replace(
            "AAHdF6IQAAAAAN0XohDhrOrc",
            "AAHdF6IQAAAAAN0XohDhrOrc%0Asignature=c2ln",
        ),
        format!(
            "{good}&{}",
            (0..64)
                .map(|n| format!("x{n}="))
                .collect::<Vec<_>>()
                .join("&")
        ),
        format!("{good}&padding={}", "x".repeat(INIT_DATA_BYTES_MAX)),
    ] {
        let refused = by_token(TOKEN).verify(&spoiled, NOW_S);
        let is_invalid = matches!(refused, Err(InitDataError::Form | InitDataError::Proof));
        assert!(is_invalid, "{refused:?}: {spoiled}");
    }
    // A line break inside a value: validly hashed, and still refused.
    let mut broken = pairs(USER, &NOW_S.to_string());
    broken[3].1 = "a\nuser=b".to_owned();
    assert!(
        by_token(TOKEN)
            .verify(&encoded(&hashed(TOKEN, broken)), NOW_S)
            .is_err()
    );
}

/// Changes a byte, a pair or a letter.
fn spoil(good: &str, random: &mut StdRng) -> String {
    let mut pairs: Vec<String> = good.split('&').map(str::to_owned).collect();
    let (at, other) = (
        random.random_range(0..pairs.len()),
        random.random_range(0..pairs.len()),
    );
    match random.random_range(0..9) {
        0 => drop(pairs.remove(at)),
        1 => pairs.insert(other, pairs[at].clone()),
        2 => {
            let (left, right) = (pairs[at].clone(), pairs[other].clone());
            let (name, value) = (
                left.split('=').next().expect("a name"),
                right.split_once('=').expect("a value").1,
            );
            pairs[at] = format!("{name}={value}");
        }
        3 => pairs.insert(
            at,
            format!(
                "{}={}",
                ["user", "hash", "auth_date", "signature", "x"][other % 5],
                random.random::<u32>()
            ),
        ),
        4 => pairs[at] = pairs[at].to_uppercase(),
        5 => pairs.truncate(at),
        what => {
            let mut bytes = good.as_bytes().to_vec();
            let at = random.random_range(0..bytes.len());
            match what {
                6 => bytes[at] ^= 1 << random.random_range(0..7),
                7 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.random_range(b' '..=b'~')),
            }
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    pairs.join("&")
}

#[test]
fn no_damaged_init_data_is_accepted() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let at = NOW_S.to_string();
    let proofs = [
        (by_token(TOKEN), good(), &[][..]),
        (
            by_key(BOT_ID, key.verifying_key()),
            encoded(&signed(&key, BOT_ID, pairs(USER, &at))),
            &["hash"],
        ),
    ];
    // The content, by another reader. The order of the fields is not part of either proof.
    let said = |text: &str, unproven: &[&str]| -> Vec<(String, String)> {
        let fields = form_urlencoded::parse(text.as_bytes()).into_owned();
        let mut fields: Vec<_> = fields
            .filter(|(name, _)| !unproven.contains(&name.as_str()))
            .collect();
        fields.sort();
        fields
    };
    for (telegram, good, unproven) in proofs {
        for seed in crate::tests::seeds() {
            let mut random = StdRng::seed_from_u64(seed);
            let mut refused = 0;
            for _ in 0..5000 {
                let spoiled = spoil(&good, &mut random);
                match telegram.verify(&spoiled, NOW_S) {
                    Ok(user) => {
                        assert_eq!(
                            (said(&spoiled, unproven), user.get()),
                            (said(&good, unproven), 184),
                            "BALANCE_TEST_SEED={seed}: {spoiled}"
                        );
                    }
                    Err(_) => refused += 1,
                }
            }
            assert!(
                refused > 4000,
                "BALANCE_TEST_SEED={seed}: {refused} refused"
            );
        }
        assert_eq!(id(telegram.verify(&good, NOW_S)), Ok(184));
    }
}
