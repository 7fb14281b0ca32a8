//! `quorate repair`: the last resort for a member that is alone and does not start.

use std::path::PathBuf;
use std::process::ExitCode;

use quorate_server::repair::{Ending, Wishes, repair};

/// The exit code that says: damaged, and left as it is. It is the one that `fsck` has for this.
const LEFT_DAMAGED: u8 = 4;

pub(crate) const HELP: &str = "\
Tell what is damaged in a member that is alone and does not start, and repair it.

Without --accept-data-loss nothing is changed: it tells what is damaged, which entries of the log
are lost, and with which revision the member would go on. With it, the damaged log is put aside
as it is, and a new one is written that has what is sound and follows the store. A member of a
larger cluster gets what it lost from the others: start it.

The member must not run. The exit code is 0 if nothing is damaged or it is repaired, 4 if it is
damaged and was left as it is, and 1 if it can't be repaired.";

/// The options of `quorate repair`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The member's data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Also if it had other members: all of them are lost for ever. `quorate recover` comes next.
    #[arg(long)]
    last_of_its_cluster: bool,
    /// Repair it, and lose what is told.
    #[arg(long)]
    accept_data_loss: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut say = |text: &str| println!("{}\n", text.trim_end());
    let Options { last_of_its_cluster, accept_data_loss, .. } = *options;
    let wishes = Wishes { last_of_its_cluster, accept_data_loss };
    match repair(&options.data_dir, wishes, &mut say) {
        Ok(Ending::Sound | Ending::Repaired) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(LEFT_DAMAGED),
        Err(error) => {
            eprintln!("quorate repair: {error}");
            ExitCode::FAILURE
        }
    }
}
