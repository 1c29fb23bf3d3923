//! [`Symbols`]: which function an address is in.
//!
//! Names come from the symbols of the program and its libraries. What has none, as a program that was stripped, is called by its
//! file and the place in it, `larder+0x1f3c`, which `addr2line` takes where there is a copy with symbols.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use crate::bounded_read::bounded_read;

/// Where the kernel tells what is mapped.
const MAPS: &str = "/proc/self/maps";
/// A line is some 100 B, and the kernel lets a process have 65,530 of them.
const MAPS_BYTES_MAX: u64 = 16 << 20;

/// Which function an address is in; what was asked once is remembered.
#[derive(Debug)]
pub(super) struct Symbols {
    names: HashMap<usize, String>,
    modules: Vec<Module>,
}

/// A part of a file in memory.
#[derive(Debug, Eq, PartialEq)]
struct Module {
    start: usize,
    end: usize,
    /// Where the file begins in memory.
    base: usize,
    name: String,
}

impl Symbols {
    /// Of this process as it is now.
    pub(super) fn of_process() -> Self {
        // Without it the names are bare addresses.
        let maps = bounded_read(Path::new(MAPS), MAPS_BYTES_MAX).unwrap_or_default();
        Self { names: HashMap::new(), modules: modules(&maps) }
    }

    /// The function that returns to `address`. The first time reads the debug information of the whole program, which takes seconds.
    pub(super) fn name(&mut self, address: usize) -> &str {
        let modules = &self.modules;
        self.names
            .entry(address)
            .or_insert_with(|| symbol(address).unwrap_or_else(|| place(modules, address)))
    }
}

/// Of what was inlined only who it was inlined into is certain; he stands last.
fn symbol(address: usize) -> Option<String> {
    let mut name = None;
    backtrace::resolve(ptr::without_provenance_mut::<c_void>(address), |symbol| {
        if let Some(symbol) = symbol.name() {
            name = Some(format!("{symbol:#}"));
        }
    });
    name
}

/// The file and the place in it, of the call rather than of what follows it.
fn place(modules: &[Module], address: usize) -> String {
    let call = address.saturating_sub(1);
    let module = modules.iter().find(|module| (module.start..module.end).contains(&call));
    match module {
        Some(Module { base, name, .. }) => format!("{name}+{:#x}", call - base),
        None => format!("{call:#x}"),
    }
}

/// Source: proc(5), `/proc/pid/maps`. Lines that are none of that form are left out.
fn modules(maps: &str) -> Vec<Module> {
    let mut modules = Vec::<Module>::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { continue };
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (Some(start), Some(end)) = (number(start), number(end)) else { continue };
        let offset = fields.nth(1).and_then(number);
        // Device and inode stand between; of a path with spaces the first part is enough.
        let (Some(offset), Some(path)) = (offset, fields.nth(2)) else { continue };
        let name = path.rsplit('/').next().unwrap_or(path);
        let before = modules.last().filter(|before| before.name == name);
        let base = before.map_or(start.saturating_sub(offset), |before| before.base);
        modules.push(Module { start, end, base, name: name.to_owned() });
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55a000000000-55a000100000 r--p 00000000 fe:00 12 /usr/bin/larder
55a000100000-55a000900000 r-xp 000ff000 fe:00 12 /usr/bin/larder
55a0a0000000-55a0a0021000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000002000 rw-p 00000000 00:00 0
7f1000000000-7f1000010000 r-xp 00003000 fe:00 13 /lib/libgcc_s.so.1 (deleted)
garbage
12-zz r-xp 0 0 0 /x
";

    #[test]
    fn places_are_counted_from_where_the_file_begins() {
        let modules = modules(MAPS);
        for (address, expect) in [
            (0x55a0_0010_1000, "larder+0x100fff"),
            (0x55a0_0000_0001, "larder+0x0"),
            (0x55a0_0090_0000, "larder+0x8fffff"),
            (0x55a0_0090_0001, "0x55a000900000"),
            (0x55a0_a000_0011, "[heap]+0x10"),
            (0x7f00_0000_0011, "0x7f0000000010"),
            (0x7f10_0000_0011, "libgcc_s.so.1+0x3010"),
            (0, "0x0"),
        ] {
            assert_eq!(place(&modules, address), expect, "{address:#x}");
        }
    }

    #[test]
    fn a_function_of_ours_has_a_name() {
        let address = a_function_of_ours_has_a_name as fn() as usize;
        let mut symbols = Symbols::of_process();
        // Addresses are those that calls return to, which are behind the first instruction.
        let name = symbols.name(address + 1);
        assert!(name.ends_with("symbols::tests::a_function_of_ours_has_a_name"), "{name}");
    }
}
