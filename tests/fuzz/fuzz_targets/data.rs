#![no_main]
#![allow(dead_code)] // each target calls one of the readers

#[path = "../../common/memory.rs"]
mod memory;
#[path = "../../common/readers.rs"]
mod readers;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::data(bytes));
