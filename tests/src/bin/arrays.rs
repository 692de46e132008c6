//! Does with MD arrays what the firmware does, beside the real mdadm: for tests only, in a virtual machine. Nothing is
//! fenced here.
//!
//!     arrays fill NODE NUMBER      words of eight bytes at the beginning and the end of a device, see `init/src/array/tests`
//!     arrays read NAME [DISK...]   an array's bytes, read on its members; as if these disks were not there
//!     arrays start NAME            node, step, state, members; refused where a member is missing that nobody marked
//!     arrays degraded NAME         the same without those that are missing
//!     arrays dirty NAME            the same where parity may be wrong
//!     arrays takeover NAME         the same as start, then the members that a takeover threw out are taken back: each of those on a line
//!     arrays takeover-dirty NAME   the same where parity may be wrong
//!     arrays stop NAME             the step

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use orthrus_init::array::{self, Array, ArrayReader, LeftOut, Member};
use orthrus_init::disk::{self, direct};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is filled at the beginning of a device, and at its end.
const BEGINNING: u64 = 256 * 1024;
const END: u64 = 64 * 1024;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", node, number] => fill(node, number.parse()?),
        ["read", name, ref without @ ..] => read(&find(name)?, without),
        [how @ ("start" | "degraded" | "dirty"), name] => start(&find(name)?, how),
        ["takeover", name] => take_over(&find(name)?, false),
        ["takeover-dirty", name] => take_over(&find(name)?, true),
        ["stop", name] => {
            println!("{:?}", array::stop(&find(name)?.id)?);
            Ok(())
        }
        _ => Err("see the head of the source".into()),
    }
}

fn fill(node: &str, number: u64) -> Outcome<()> {
    let file = OpenOptions::new().write(true).read(true).open(node)?;
    let bytes = (&file).seek(SeekFrom::End(0))?;
    let put = |start: u64, end: u64| -> Outcome<()> {
        for sector in start / 512..end / 512 {
            file.write_all_at(&pattern(sector, number), sector * 512)?;
        }
        Ok(())
    };
    put(0, BEGINNING.min(bytes))?;
    put(bytes.saturating_sub(END), bytes)?;
    file.sync_all()?;
    Ok(())
}

/// What a sector holds: one word again and again, another one in each sector and for each number.
fn pattern(sector: u64, number: u64) -> Vec<u8> {
    let word = (sector + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(number as u32);
    word.to_le_bytes().repeat(64)
}

fn find(name: &str) -> Outcome<Array> {
    let mut members = Vec::new();
    for disk in disk::scan().into_iter().filter_map(Result::ok) {
        let file = direct::open(&disk.path)?;
        let found =
            array::superblock_of(disk.bytes, &mut |at, count| direct::read(&file, at, count));
        match found {
            Ok(Some(superblock)) => members.push(Member { disk, superblock }),
            Ok(None) => {}
            Err(error) => eprintln!("{}: {error}", disk.name),
        }
    }
    let mut arrays = array::arrays(members).into_iter();
    let array = arrays.find(|array| array.name().ends_with(&format!(":{name}")));
    Ok(array.ok_or_else(|| format!("no array {name}"))?)
}

fn read(array: &Array, without: &[&str]) -> Outcome<()> {
    let decision = array.decide(false)?;
    let paths = array
        .members
        .iter()
        .map(|member| member.disk.path.as_path());
    let absent: Vec<usize> = paths
        .clone()
        .enumerate()
        .filter(|(_, path)| without.iter().any(|other| path.as_os_str() == *other))
        .map(|(index, _)| index)
        .collect();
    if absent.len() != without.len() {
        return Err("not a member".into());
    }
    let files: Vec<File> = paths.map(direct::open).collect::<Result<_, _>>()?;
    let reader = ArrayReader::new(array, &decision)
        .map_err(|error| error.to_string())?
        .without(&absent);
    let mut disk = |index: usize, at, count| direct::read(&files[index], at, count);
    let mut out = std::io::stdout().lock();
    let (mut at, all) = (0, reader.bytes());
    while at < all {
        // Of no alignment, so that pieces begin and end everywhere.
        let count = (all - at).min(999_937) as usize;
        out.write_all(&reader.read(at, count, &mut disk)?)?;
        at += count as u64;
    }
    Ok(())
}

fn start(array: &Array, how: &str) -> Outcome<()> {
    let decision = array.decide(how == "dirty");
    let decision = decision.map_err(|refusal| format!("refused: {refusal}"))?;
    let absent: Vec<u32> = decision.absent().collect();
    // What a claim would have had to allow first.
    if how == "start" && !absent.is_empty() {
        return Err(format!("refused: members are missing in slots {absent:?}").into());
    }
    let (running, step) = array::start(array, &decision)?;
    println!("{} {step:?} {}", running.node().display(), running.state);
    for member in &array.members {
        let number = member.disk.number;
        if running.members.contains(&(number, true)) {
            println!("{}", member.disk.path.display());
        }
    }
    Ok(())
}

fn take_over(array: &Array, allows_dirty: bool) -> Outcome<()> {
    start(array, if allows_dirty { "dirty" } else { "start" })?;
    // As it was decided before it ran: superblocks change from here on.
    let decision = array.decide(true);
    let decision = decision.map_err(|refusal| format!("refused: {refusal}"))?;
    let thrown_out = decision.left_out.iter();
    let thrown_out = thrown_out.filter(|(_, why)| *why == LeftOut::ThrownOut);
    let members: Vec<usize> = thrown_out.map(|(index, _)| *index).collect();
    let outcomes = array::take_back(array, &members)?;
    for (index, step) in members.into_iter().zip(outcomes) {
        println!(
            "back {:?} {}",
            step?,
            array.members[index].disk.path.display()
        );
    }
    Ok(())
}
