//! Reads a process's processor time and memory from /proc.

use std::fs;

use crate::Result;

/// Clock ticks a second of /proc; fixed on Linux.
const TICKS_PER_S: f64 = 100.0;

const PAGE_BYTES: u64 = 4096;

/// Processor time a process has used, its threads included, in seconds.
///
/// # Errors
/// When the process has ended.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may contain any characters.
    let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
    let field = |index: usize| {
        rest.split_whitespace()
            .nth(index)
            .and_then(|text| text.parse::<f64>().ok())
    };
    let (user, system) = (field(11).ok_or("no utime")?, field(12).ok_or("no stime")?);
    Ok((user + system) / TICKS_PER_S)
}

/// Processor time of a process and of all its children, ended ones too, in seconds. Children of children do not count.
///
/// # Errors
/// When the process has ended.
pub fn family_cpu_s(parent: u32) -> Result<f64> {
    let fields = |text: &str| -> Option<[f64; 5]> {
        let (_, rest) = text.rsplit_once(')')?;
        let all: Vec<&str> = rest.split_whitespace().collect();
        let field = |index: usize| all.get(index)?.parse().ok();
        // Parent, then own time, then that of children which have ended.
        Some([field(1)?, field(11)?, field(12)?, field(13)?, field(14)?])
    };
    let stat = fs::read_to_string(format!("/proc/{parent}/stat"))?;
    let [_, mine @ ..] = fields(&stat).ok_or("no stat")?;
    let mut ticks: f64 = mine.iter().sum();
    for process in fs::read_dir("/proc")? {
        // Those that end meanwhile are counted by their parent.
        let Ok(stat) = fs::read_to_string(process?.path().join("stat")) else {
            continue;
        };
        if let Some([of, user, system, ..]) = fields(&stat)
            && of == f64::from(parent)
        {
            ticks += user + system;
        }
    }
    Ok(ticks / TICKS_PER_S)
}

/// A process and its children; children of children are left out.
pub fn family(parent: u32) -> Result<Vec<u32>> {
    let mut all = vec![parent];
    for process in fs::read_dir("/proc")? {
        let name = process?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if parent_of(pid).is_ok_and(|of| of == parent) {
            all.push(pid);
        }
    }
    Ok(all)
}

/// The process that has started this one.
///
/// # Errors
/// When the process has ended.
pub fn parent_of(pid: u32) -> Result<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
    let parent = rest.split_whitespace().nth(1).ok_or("no parent")?;
    Ok(parent.parse()?)
}

/// Proportional set size in bytes: its own pages, and its share of shared ones.
///
/// # Errors
/// When the process has ended.
pub fn pss_bytes(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .ok_or("no Pss")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Resident set size in bytes; cheaper to read.
///
/// # Errors
/// When the process has ended.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no statm")?.parse()?;
    Ok(pages * PAGE_BYTES)
}

/// Buffers of all TCP sockets of the machine in bytes, as /proc/net/sockstat counts them.
///
/// # Errors
/// Where there is none.
pub fn socket_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = text
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))
        .ok_or("no TCP")?;
    let mut words = tcp.split_whitespace();
    let pages = words
        .by_ref()
        .skip_while(|word| *word != "mem")
        .nth(1)
        .ok_or("no mem")?;
    Ok(pages.parse::<u64>()? * PAGE_BYTES)
}

/// The kernel's slabs in bytes; they include socket objects.
///
/// # Errors
/// Where there is no /proc/meminfo.
pub fn slab_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Slab:"))
        .ok_or("no Slab")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// Processor time that the host of a virtual machine has kept for others, of all its processors, in seconds.
///
/// # Errors
/// Where there is no /proc/stat.
pub fn stolen_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: f64 = stat.split_whitespace().nth(8).ok_or("no steal")?.parse()?;
    Ok(ticks / TICKS_PER_S)
}

/// The machine in one line.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, name)| name)
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{}, {cores} cores, Linux {}",
        model.unwrap_or(" unknown").trim(),
        kernel.trim()
    )
}
