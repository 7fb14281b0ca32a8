//! `docs/proof.md`: what was claimed, run, injected and found, and what was not looked at.
//!
//! Each tool leaves a report. It is stored in `docs/proof/`, with the command, the commit, the day and
//! the machine, and the page is made of nothing but these, the list of our own bugs, and a template in
//! which no digit may stand ([`template`]). So a number on the page is one that a tool has counted.
//!
//! ```text
//!   --run NAME ──► tools ──► docs/proof/NAME.json ──┐
//!                            docs/proof/bugs.txt ───┼──► page ──► docs/proof.md ◄── --check
//!                            page.md.in ────────────┘
//! ```

mod bugs;
mod demands;
mod page;
mod record;
mod table;
mod template;
mod tools;

use std::{fs, io};

use crate::workspace;
use tools::Size;

const USAGE: &str = "usage: cargo xtask proof                         write docs/proof.md from docs/proof/*.json
       cargo xtask proof --run NAME [--quick] [-- ARGUMENTS]   run a tool, store its report, write the page
       cargo xtask proof --all [--quick]         the same for all tools, which takes hours, or minutes
       cargo xtask proof --check                 fail if the page is not what the reports give";

/// The page, below the root.
const PAGE: &str = "docs/proof.md";

/// Runs the chore.
///
/// # Errors
///
/// A page that is not what the reports give, a report that does not exist, that can't be read, or that is
/// not of its tool; and a tool that did not pass, once that is stored and on the page.
pub(crate) fn run() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => write(),
        ["--check"] => check(),
        ["--all"] => make_all(tools::ALL.iter(), &Size::Full),
        ["--all", "--quick"] => {
            make_all(tools::ALL.iter().filter(|tool| tool.has_quick()), &Size::Quick)
        }
        ["--run", name] => make(named(name)?, &Size::Full),
        ["--run", name, "--quick"] => make(named(name)?, &Size::Quick),
        ["--run", name, "--", ..] => make(named(name)?, &Size::Told(&arguments[3..])),
        _ => Err(io::Error::other(USAGE)),
    }
}

fn named(name: &str) -> io::Result<&'static tools::Tool> {
    tools::ALL.iter().find(|tool| tool.name == name).ok_or_else(|| {
        let names: Vec<&str> = tools::ALL.iter().map(|tool| tool.name).collect();
        io::Error::other(format!("there is no report {name}; there are {}", names.join(", ")))
    })
}

/// Makes the reports of these tools, also of those behind one that did not pass.
fn make_all<'a>(tools: impl Iterator<Item = &'a tools::Tool>, size: &Size<'_>) -> io::Result<()> {
    let errors = tools.filter_map(|tool| make(tool, size).err());
    let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(errors.join("\n"))),
    }
}

/// Makes a report, and the page with it.
fn make(tool: &tools::Tool, size: &Size<'_>) -> io::Result<()> {
    let record = tool.run(size)?;
    write()?;
    if record.passed {
        return Ok(());
    }
    Err(io::Error::other(format!("{} did not pass; the report and the page say so", tool.name)))
}

fn generate() -> io::Result<String> {
    let found = workspace::read(&workspace::root().join(crate::museum::FOUND))?;
    let records = record::all()?;
    for (name, record) in &records {
        named(name)?.verify(record)?;
    }
    page::of(&records, &bugs::all()?, &found)
}

fn write() -> io::Result<()> {
    let path = workspace::root().join(PAGE);
    fs::write(&path, generate()?).map_err(|error| workspace::at(&path, &error))?;
    println!("proof: {PAGE} is written");
    Ok(())
}

/// Holds the page against the reports, and every commit that it names against the history, where there is
/// one.
fn check() -> io::Result<()> {
    demand_commits()?;
    compare(&workspace::read(&workspace::root().join(PAGE))?, &generate()?)?;
    println!("proof: {PAGE} is what the reports give");
    Ok(())
}

/// Demands that both are the same, and names the first line that is not.
fn compare(page: &str, generated: &str) -> io::Result<()> {
    if page == generated {
        return Ok(());
    }
    let lines = page.lines().zip(generated.lines());
    let same = lines.take_while(|(one, other)| one == other).count();
    Err(io::Error::other(format!(
        "{PAGE} is not what the reports give, from line {} on; `cargo xtask proof` writes it\n  \
         there: {}\n  reports: {}",
        same + 1,
        page.lines().nth(same).unwrap_or("nothing"),
        generated.lines().nth(same).unwrap_or("nothing"),
    )))
}

fn demand_commits() -> io::Result<()> {
    let is_shallow = tools::output("git", &["rev-parse", "--is-shallow-repository"]);
    if !matches!(is_shallow.as_deref(), Ok("false")) {
        println!("proof: no history here, so the commits that the page names are not looked for");
        return Ok(());
    }
    let records = record::all()?;
    let reports = records.into_iter().map(|(name, record)| (name, record.commit));
    let bugs = bugs::all()?.into_iter().filter_map(|bug| match bug.fixed {
        bugs::Fixed::In(commit) => Some((bug.what, commit)),
        bugs::Fixed::WithItsSeed | bugs::Fixed::NotYet => None,
    });
    for (what, commit) in reports.chain(bugs) {
        tools::output("git", &["merge-base", "--is-ancestor", &commit, "HEAD"])
            .map_err(|_| io::Error::other(format!("{what}: {commit} is no commit before this")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_reports_give() {
        check().unwrap();
    }

    #[test]
    fn a_page_that_somebody_touched_is_noticed() {
        compare("a\nb\n", "a\nb\n").unwrap();
        let error = compare("a\n9 seeds\nc\n", "a\n7 seeds\nc\n").unwrap_err().to_string();
        assert!(error.contains("from line 2 on"), "{error}");
        assert!(error.contains("there: 9 seeds") && error.contains("reports: 7 seeds"), "{error}");
        let error = compare("a\n", "a\nb\n").unwrap_err().to_string();
        assert!(error.contains("there: nothing"), "{error}");
    }

    #[test]
    fn every_report_has_a_tool() {
        for name in record::all().unwrap().keys() {
            named(name).unwrap();
        }
        assert!(named("swarms").is_err());
    }
}
