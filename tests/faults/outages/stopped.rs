//! PostgreSQL stopped (orderly, and by a crash) and restarted; and paused, so that statements hang.

use std::time::Instant;

use crate::support::{Cluster, Database, on_postgres};

use super::{Reads, Scene, app_on};

on_postgres![
    a_stopped_server_is_reported_and_everything_resumes_on_its_return,
    a_paused_server_delays_no_answer_beyond_the_timeout,
];

async fn a_stopped_server_is_reported_and_everything_resumes_on_its_return(_: Database) {
    let cluster = Cluster::start();
    let mut scene = Scene::open(app_on(&cluster, None).await).await;
    for mode in ["fast", "immediate"] {
        cluster.stop(mode);
        scene.during(Reads::Away).await;
        cluster.start_again();
        scene
            .recovers(
                &format!("PostgreSQL stopped ({mode})"),
                Instant::now(),
                Reads::Away,
            )
            .await;
    }
    scene.close(Some(&cluster)).await;
}

async fn a_paused_server_delays_no_answer_beyond_the_timeout(_: Database) {
    let cluster = Cluster::start();
    let mut scene = Scene::open(app_on(&cluster, None).await).await;
    let paused = cluster.pause();
    scene.during(Reads::Away).await;
    // Twice: now the connections made meanwhile hang as well.
    scene.during(Reads::Away).await;
    drop(paused);
    scene
        .recovers("PostgreSQL paused", Instant::now(), Reads::Away)
        .await;
    scene.close(Some(&cluster)).await;
}
