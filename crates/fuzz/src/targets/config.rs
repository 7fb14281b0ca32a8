//! What operators write.

use quorate_server::Config;
use quorate_server::fuzz::{config, identity};

use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let kind = draw.byte() % 6;
    let text = String::from_utf8_lossy(draw.rest());
    match kind {
        0 => of_command_line(&text),
        1 => {
            if let Ok(config) = config::of_file(&text) {
                use_it(&config);
            }
        }
        2 => config::of_duration(&text),
        3 => config::of_url(&text),
        4 => identity::of_file(&text),
        _ => cluster(&text),
    }
}

/// A line for each argument, and for each variable of the environment, which begins with `ETCD_`.
fn of_command_line(text: &str) {
    let (variables, arguments): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.starts_with("ETCD_"));
    // Files are another target's.
    let is_file = |line: &&str| line.to_ascii_lowercase().replace('_', "-").contains("config-file");
    if text.lines().any(|line| is_file(&line)) {
        return;
    }
    let arguments = arguments.into_iter().map(str::to_owned);
    let variables = variables.into_iter().map(|line| match line.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (line.to_owned(), String::new()),
    });
    match Config::parse(arguments, variables) {
        Ok(config) => use_it(&config),
        Err(stop) => drop((stop.to_string(), stop.exit_code())),
    }
}

/// The members of a cluster to be founded.
fn cluster(text: &str) {
    let (own, all) = text.split_once('\n').unwrap_or(("a", text));
    let cluster = format!("--initial-cluster={all}");
    let urls = all.split(',').filter_map(|part| part.split_once('='));
    let urls: Vec<_> = urls.filter(|(name, _)| *name == own).map(|(_, url)| url).collect();
    let arguments = [
        cluster,
        format!("--name={own}"),
        "--peer-auth=none".to_owned(),
        format!("--initial-advertise-peer-urls={}", urls.join(",")),
    ];
    if let Ok(config) = Config::parse(arguments, []) {
        use_it(&config);
    }
}

fn use_it(config: &Config) {
    let _ = config.request_timeout();
    if let Ok(cluster) = config.initial_cluster() {
        identity::of_founder(cluster);
    }
}
