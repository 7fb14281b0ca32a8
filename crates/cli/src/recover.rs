//! `quorate recover --from-survivor`: the last resort for a cluster that lost its majority.

use std::path::PathBuf;
use std::process::ExitCode;

use quorate_server::recover::{BUMP_DEFAULT, Ending, Wishes, recover};

/// The exit code that says: it can be done, and was not. It is the one that `fsck` has for this.
const LEFT_AS_IT_WAS: u8 = 4;

pub(crate) const HELP: &str = "\
Make a new cluster of one member that is left of a cluster that lost its majority for ever.

Without --accept-data-loss nothing is changed: it tells what the member holds, what may be lost, and
what would be done. With it, a new cluster of one member is made of all that the member's log and
store hold, also of what was never acknowledged. It has new ids, and no member of the old cluster
can speak to it. The revision moves far forward, and all before is compacted: watchers that come
back have to read everything anew. The old member is put aside as it was.

As long as a majority can be started, on whatever machines, start it instead. No member of the old
cluster must run, now or later. The exit code is 0 if it is done, 4 if it can be done and nothing was
changed, and 1 if it can't be done.";

/// The options of `quorate recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The majority is lost, and this member is what there is to go on with.
    #[arg(long, required = true)]
    from_survivor: bool,
    /// The survivor's data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The member's name in the new cluster, if another one than now.
    #[arg(long)]
    name: Option<String>,
    /// Where other members will reach it, if elsewhere than now.
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// How far the revision moves: beyond all that were acknowledged and may be lost.
    #[arg(long, value_name = "N", default_value_t = BUMP_DEFAULT)]
    bump_revision: i64,
    /// Do it, and lose what is told.
    #[arg(long)]
    accept_data_loss: bool,
}

pub(crate) fn run(options: Options) -> ExitCode {
    let mut say = |text: &str| println!("{}\n", text.trim_end());
    let wishes = Wishes {
        name: options.name,
        peer_urls: options.initial_advertise_peer_urls,
        bump: options.bump_revision,
        accept_data_loss: options.accept_data_loss,
    };
    match recover(&options.data_dir, &wishes, &mut say) {
        Ok(Ending::Recovered) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(LEFT_AS_IT_WAS),
        Err(error) => {
            eprintln!("quorate recover: {error}");
            ExitCode::FAILURE
        }
    }
}
