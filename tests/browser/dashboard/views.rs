//! Conflicts, the canary's runs, and cells of the heat maps.

use serde_json::{Value, json};

use super::figures::{Figure, all_in, at, differences, read, until_equal};
use super::{USER, go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::eventually;

in_a_browser![
    conflicts_show_both_entries_and_what_differs,
    the_canarys_runs_are_shown_as_they_were_reported,
    a_cell_of_the_heat_map_tells_its_count,
    a_list_that_can_not_be_read_says_why,
];

async fn conflicts_show_both_entries_and_what_differs() {
    let app = slow().start().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "#conflicts").await;
    browser
        .until("document.getElementById('conflict-list').textContent === 'There was none.'")
        .await;
    live_a_little(&app).await;
    let first = json!({"event_id": "m1", "user_id": 7, "currency": "UNI", "amount": "3", "metadata": {"big": 9_007_199_254_740_993_i64, "html": "<b>&amp;"}});
    app.post("rewards", first.clone()).await.ok();
    let mut second = first;
    second["metadata"] =
        json!({"big": 9_007_199_254_740_995_i64, "html": "<img src=x onerror=alert(1)>"});
    second["user_id"] = json!(8);
    for _ in 0..3 {
        app.post("rewards", second.clone())
            .await
            .problem(409, "idempotency_conflict");
    }
    browser.value("location.hash = '#overview'").await;
    go(&browser, "#conflicts").await;
    browser
        .until("document.querySelectorAll('.conflict').length === 2")
        .await;
    let often = browser
        .value("document.querySelector('.conflict .hint').textContent")
        .await;
    assert!(
        often
            .as_str()
            .is_some_and(|text| text.starts_with("refused 3 ×, first at ")),
        "{often}"
    );
    // All of them together, by kind.
    assert_eq!(browser.text("#conflict-list h2").await, "2\u{a0}conflicts");
    until_equal(&browser, "#conflict-list", 6, async || {
        app.admin("/admin/v1/conflicts").await.ok()
    })
    .await;
    let answer = app.admin("/admin/v1/conflicts").await.ok();
    let rows = "[...document.querySelectorAll('.conflict')].map((one) => [...one.querySelectorAll('tbody tr')].map((row) => \
                [...row.cells].map((cell) => cell.textContent).concat([[...row.querySelectorAll('.differs')].length])))";
    let shown = browser.value(rows).await;
    for (index, conflict) in answer["conflicts"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
    {
        for row in shown[index].as_array().expect("rows") {
            let name = row[0].as_str().expect("a field");
            let words = |value: &Value| match value {
                Value::Null => "–".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let (known, refused) = (&conflict["first"][name], &conflict["second"][name]);
            assert_eq!(
                (&row[1], &row[2]),
                (&json!(words(known)), &json!(words(refused))),
                "{name}"
            );
            let is_of_both = !["version", "balance_after", "committed_at"].contains(&name);
            assert_eq!(
                row[3],
                if is_of_both && known != refused { 2 } else { 0 },
                "{name}: {row}"
            );
        }
        let fields = conflict["first"].as_object().expect("an entry").len();
        assert!(
            shown[index].as_array().expect("rows").len() >= fields,
            "{shown}"
        );
    }
    assert_eq!(
        browser.value("document.images.length").await,
        0,
        "what was sent is shown, and does nothing"
    );
    browser.click(".conflict .user-link").await;
    browser
        .until("!document.getElementById('view-user').hidden")
        .await;
    browser.close(false).await;
}

async fn the_canarys_runs_are_shown_as_they_were_reported() {
    let app = slow()
        .set("pacing.direct_interval_ms", 0)
        .set("canary.every_s", 1)
        .set("canary.user_id", 900)
        .set("canary.watch_s", 0)
        .start()
        .await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    let runs = "[...document.querySelectorAll('#canary-runs details')]";
    // Lists are read when they are come to.
    eventually("two runs are shown", async || {
        browser.value("location.hash = '#conflicts'").await;
        go(&browser, "#canary").await;
        browser
            .until("document.getElementById('canary-schedule').textContent === 'Runs every 1 s.'")
            .await;
        (browser.value(&format!("{runs}.length")).await.as_u64() >= Some(2)).then_some(())
    })
    .await;
    browser
        .click("#canary-runs details:nth-of-type(2) summary")
        .await;
    browser.until(&format!("{runs}[1].open")).await;
    let shown = browser
        .value(&format!(
            "{runs}.map((run) => [run.dataset.at, run.querySelector('strong').textContent, run.innerHTML.length])"
        ))
        .await;
    let reported = app.admin("/admin/v1/canary").await.ok()["runs"].clone();
    for (index, run) in shown.as_array().expect("a list").iter().enumerate() {
        let same = |report: &&Value| report["started_at"] == run[0];
        let report = reported
            .as_array()
            .expect("a list")
            .iter()
            .find(same)
            .expect("it is there");
        assert_eq!(
            run[1],
            if report["ok"] == true {
                "all well"
            } else {
                "deviated"
            }
        );
        let figures = read(
            &browser
                .value(&all_in(&format!(
                    "#canary-runs details:nth-of-type({})",
                    index + 1
                )))
                .await,
        );
        assert_eq!(differences(&figures, report), Vec::<String>::new());
        let steps = report["steps"].as_array().expect("a list").len();
        let of_steps = |figure: &&Figure| figure.path.ends_with(".seen");
        assert_eq!(figures.iter().filter(of_steps).count(), steps);
        let first = figures
            .iter()
            .find(|figure| figure.path == "amount")
            .expect("an amount");
        assert_eq!(at(report, &first.path), "0.100000000");
    }
    // The points of the chart are the same times.
    let chart = browser
        .value("document.querySelector('#canary-chart .chart-body').chart.data")
        .await;
    let count = chart[0].as_array().expect("times").len();
    for (row, name) in ["answer_ms", "frame_ms", "push_ms"].into_iter().enumerate() {
        let oldest = reported
            .as_array()
            .expect("a list")
            .iter()
            .rev()
            .take(count);
        let values: Vec<&Value> = oldest.map(|run| &run[name]).collect();
        assert_eq!(chart[row + 1], json!(values), "{name}");
    }
    browser.close(false).await;
}

async fn a_cell_of_the_heat_map_tells_its_count() {
    let app = slow().start().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelectorAll('.readout').length === 2")
        .await;
    assert_eq!(
        browser.text(".readout").await,
        "Point at a cell for its count."
    );
    let heat = "[...document.querySelectorAll('.chart-body')].find((one) => one.querySelector('.readout'))";
    let note = format!("{heat}.nextSibling.textContent");
    browser
        .until(&format!("{note} === 'Nothing was committed lately.'"))
        .await;
    app.batch(json!([
        {"kind": "reward", "event_id": "b1", "user_id": USER, "currency": "UNI", "amount": "1"},
        {"kind": "reward", "event_id": "b2", "user_id": USER, "currency": "UNI", "amount": "1"},
    ]))
    .await
    .ok();
    browser.until(&format!("{note} === ''")).await;
    // Over all cells: what they tell is as many commits as there were.
    let over = format!(
        "(() => {{ const body = {heat}, {{ chart }} = body, over = body.querySelector('.u-over'), box = over.getBoundingClientRect(); \
         const told = []; for (const at of chart.data[0].slice(1)) for (let row = 0.5; row < chart.scales.y.max; row++) {{ \
           over.dispatchEvent(new MouseEvent('mousemove', {{ bubbles: true, clientX: box.left + chart.valToPos(at, 'x') - 1, clientY: box.top + chart.valToPos(row, 'y') }})); \
           chart.setCursor({{ left: chart.valToPos(at, 'x') - 0.5, top: chart.valToPos(row, 'y') }}); \
           const words = body.querySelector('.readout').textContent; if (!words.endsWith(': 0')) told.push(words); }} return told }})()"
    );
    let told = browser.value(&over).await;
    let told: Vec<&str> = told
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let counts: f64 = told
        .iter()
        .map(|words| {
            words
                .rsplit(' ')
                .next()
                .expect("a count")
                .parse::<f64>()
                .expect("a number")
        })
        .sum();
    let scrape = app.metrics().await;
    assert_eq!(
        counts,
        scrape.value("balance_commit_seconds_count"),
        "{told:?}"
    );
    for words in told {
        let bound = words.split(": ").nth(1).expect("a bound");
        assert!(bound.starts_with('≤') || bound.starts_with('>'), "{words}");
    }
    browser.close(false).await;
}

async fn a_list_that_can_not_be_read_says_why() {
    let mut app = slow().start().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    app.stop().await;
    go(&browser, "#conflicts").await;
    browser.until("document.getElementById('list-error').textContent === 'the service can not be reached'").await;
    app.start_again().await;
    browser.value("location.hash = '#canary'").await;
    go(&browser, "#conflicts").await;
    browser
        .until("document.getElementById('conflict-list').textContent === 'There was none.'")
        .await;
    assert_eq!(browser.text("#list-error").await, "");
    browser.close(true).await;
}
