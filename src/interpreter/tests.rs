//! Each kind of error by a small text, each builtin against Rust's function, bounds, and texts that are broken
//! at random.

use std::time::{Duration, Instant};

use super::{Buffers, Finding, Kernel, Refused, Rules, What};

/// As a checker runs what somebody else has written.
const STRICT: Rules = Rules {
    steps: 20_000_000,
    reads_in_range: true,
};

/// Far longer than any of these takes, also where other programs run beside the tests.
const SOON: Duration = Duration::from_secs(10);

/// A kernel over a buffer `data` of words and a constant one `given`, with some declarations before it.
fn text(declarations: &str, lanes: u32, body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<storage, read> given: array<f32>;
{declarations}
@compute @workgroup_size({lanes}) fn kernel(
    @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3<u32>) {{
{body}
}}"
    )
}

fn buffers() -> Buffers {
    let given = [0.5_f32, -1.5, 2.0, 3.25].map(f32::to_bits).to_vec();
    Buffers::from([(0, vec![7; 8]), (1, given)])
}

fn launched(text: &str, rules: &Rules) -> Result<Vec<u32>, Finding> {
    let kernel = Kernel::new(text, "kernel", &[]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut buffers = buffers();
    let outcome = kernel.launch(&mut buffers, [1, 1, 1], rules);
    assert_eq!(buffers.len(), 2, "a buffer is gone");
    outcome.map(|()| buffers.remove(&0).unwrap())
}

/// The words that one invocation leaves.
fn words(declarations: &str, body: &str) -> Vec<u32> {
    let text = text(declarations, 1, body);
    launched(&text, &STRICT).unwrap_or_else(|finding| panic!("{finding}\n{text}"))
}

fn finding(declarations: &str, lanes: u32, body: &str) -> Finding {
    launched(&text(declarations, lanes, body), &STRICT).expect_err(body)
}

fn refused(text: &str) -> Refused {
    match Kernel::new(text, "kernel", &[]) {
        Ok(_) => panic!("not refused: {text}"),
        Err(refused) => refused,
    }
}

#[test]
fn each_kind_of_mistake_is_found_at_its_place() {
    let shared = "var<workgroup> w: array<u32, 4>;";
    for (body, kind, line, column, says) in [
        (
            "data[0] = i;",
            What::Race,
            6,
            1,
            "invocations 1 and 0 write word 0 of data, without a barrier",
        ),
        (
            "w[i] = i;\n    data[i] = w[1u - i];",
            What::Race,
            7,
            15,
            "invocation 0 reads word 1 of w, which invocation 1 has written since the last barrier",
        ),
        (
            "if i == 0u {\n workgroupBarrier(); }",
            What::Barrier,
            7,
            2,
            "not all invocations come to this barrier",
        ),
        (
            "data[8u + i] = 1u;",
            What::Write,
            6,
            1,
            "invocation 0 writes beyond the end of data: element 8 of 8",
        ),
        (
            "let x = given[i + 3u]; data[i] = u32(x);",
            What::Read,
            6,
            9,
            "invocation 1 reads beyond the end of given: element 4 of 4",
        ),
        (
            "let x = w[i32(i) - 1]; data[i] = x;",
            What::Read,
            6,
            9,
            "invocation 0 reads beyond the end of w: element 4294967295 (-1 as i32) of 4",
        ),
        (
            "var a = array<u32, 2>(1u, 2u); a[i + 1u] = 3u; data[i] = a[0];",
            What::Write,
            6,
            32,
            "invocation 1 writes beyond the end of a: element 2 of 2",
        ),
        (
            "let v = vec2<u32>(i, 2u); data[i] = v[i + 1u];",
            What::Read,
            6,
            37,
            "invocation 1 reads element 2 of a value that has 2",
        ),
        (
            "var n = 0u;\nfor (var k = 0u; k < 3u; k++) { n += k; }\n loop { for (var k = 0u; k < 3u; k++) { \
             n += 1u; } if n == 0u { break; } }",
            What::Steps,
            8,
            2,
            "the launch takes more than 20000000 steps: this loop was in its iteration",
        ),
    ] {
        let found = finding(shared, 2, body);
        let place = (found.kind, found.line, found.column);
        assert_eq!(place, (kind, line, column), "{body}: {found}");
        assert!(found.message.starts_with(says), "{body}: {found}");
        assert!(
            found
                .to_string()
                .starts_with(&format!("{line}:{column}: {says}"))
        );
    }
}

#[test]
fn a_read_beyond_the_end_is_zero_where_that_is_allowed() {
    let text = text(
        "",
        2,
        "let v = vec2<u32>(5u, 6u); data[i] = u32(given[i + 4u]) + v[i + 1u];",
    );
    let got = launched(&text, &Rules::default()).unwrap();
    assert_eq!(got[..2], [6, 0]);
}

#[test]
fn lanes_that_wait_make_no_mistakes() {
    let text = text(
        "",
        2,
        "var x = 1.0; if i == 0u { x = given[3u + i]; let v = vec2<f32>(x, x); x += v[i]; }
         data[i] = u32(x);",
    );
    assert_eq!(launched(&text, &STRICT).unwrap()[..2], [6, 1]);
}

#[test]
fn an_endless_loop_ends_soon() {
    for lanes in [1, 64, 256] {
        for body in [
            "loop { }",
            "while true { data[i] += 1u; }",
            "loop { continuing { } }",
            "for (var k = 0u; k < 10u; ) { var a = array<u32, 100>(); a[k] = 1u; }",
        ] {
            let text = text("", lanes, body);
            let Ok(kernel) = Kernel::new(&text, "kernel", &[]) else {
                continue;
            };
            let begun = Instant::now();
            let mut buffers = Buffers::from([(0, vec![0; 256]), (1, vec![0; 4])]);
            let found = kernel.launch(&mut buffers, [1, 1, 1], &STRICT).unwrap_err();
            assert_eq!((found.kind, found.line), (What::Steps, 6), "{body}");
            assert!(begun.elapsed() < SOON, "{body}");
        }
    }
    // Without a loop: functions that call each other twice, and many workgroups.
    let mut calls = "fn g0() { data[0] += 1u; }".to_owned();
    for n in 1..40 {
        calls += &format!("fn g{n}() {{ g{0}(); g{0}(); }}", n - 1);
    }
    let found = finding(&calls, 1, "g39();");
    assert_eq!(found.kind, What::Steps);
    let kernel = Kernel::new(&text("", 1, ""), "kernel", &[]).unwrap();
    let found = kernel
        .launch(&mut buffers(), [u32::MAX; 3], &STRICT)
        .unwrap_err();
    assert_eq!(found.kind, What::Steps);
    kernel.launch(&mut buffers(), [0, 1, 1], &STRICT).unwrap();
}

#[test]
fn what_a_text_must_not_have_is_refused_at_its_place() {
    for (declarations, body, line, says) in [
        (
            "",
            "data[i] = g;",
            6,
            "no definition in scope for identifier: `g`",
        ),
        ("", "data[i] = 1.5;", 6, ""),
        ("", "let x = ;", 6, ""),
        ("fn f() { f(); }", "f();", 3, "recursive"),
        (
            "@group(0) @binding(2) var t: texture_2d<f32>;",
            "_ = textureDimensions(t);",
            3,
            "textures",
        ),
        (
            "",
            "data[i] = pack4x8snorm(vec4<f32>());",
            6,
            "Pack4x8snorm of f32 is not known",
        ),
        (
            "var<workgroup> w: array<f32, 300000>;",
            "w[i] = 1.0;",
            3,
            "a workgroup has 1024 KiB",
        ),
        (
            "",
            "var a: array<f32, 500000000>; data[i] = u32(a[i]);",
            6,
            "too much memory",
        ),
        (
            "var<private> p: array<f32, 9000000>;",
            "data[i] = u32(p[i]);",
            3,
            "too much memory",
        ),
        ("", "textureBarrier();", 6, "barrier"),
    ] {
        let text = text(declarations, 2, body);
        let refused = refused(&text);
        assert_eq!(refused.line, line, "{refused}");
        assert!(refused.message.contains(says), "{refused}");
        assert_eq!(
            refused.excerpt,
            text.lines().nth(line as usize - 1).unwrap()
        );
    }
    let huge = text("", 2, "var a: array<f32, 1000000000>; data[i] = u32(a[i]);");
    assert!(!refused(&huge).message.is_empty());
    assert!(
        refused(&text("", 2000, ""))
            .message
            .contains("2000 x 1 x 1")
    );
    assert!(refused("").message.contains("`kernel`"));
    assert!(refused(&" ".repeat(300_000)).message.contains("256 KiB"));
}

/// On a stack as small as a browser's, which is a megabyte.
#[test]
fn texts_that_are_deep_do_not_take_the_stack() {
    let run = || {
        let chain = |n: usize, link: &str| link.repeat(n);
        let nested = |n: usize, open: &str, close: &str| chain(n, open) + &chain(n, close);
        let calls = |n: usize| -> String {
            let call = |n: usize| format!("fn g{n}() {{ g{}(); }}\n", n - 1);
            "fn g0() { }\n".to_owned() + &(1..n).map(call).collect::<String>()
        };
        let constants = |n: usize| -> String {
            let next = |n: usize| format!("const c{n} = c{} + 1;\n", n - 1);
            "const c0 = 1;\n".to_owned() + &(1..n).map(next).collect::<String>()
        };
        for n in [100, 240, 900, 5000] {
            for (declarations, body) in [
                (String::new(), format!("data[i] = 1u{};", chain(n, " + i"))),
                (
                    String::new(),
                    format!("data[i] = {}1u{};", chain(n, "("), chain(n, ")")),
                ),
                (String::new(), format!("data[i] = {}1u;", chain(n, "-"))),
                (
                    String::new(),
                    format!("var b = true; b = {}b;", chain(n, "!")),
                ),
                (
                    String::new(),
                    format!("data[i] = 1u{};", chain(n, " + min(i, 1u)")),
                ),
                (
                    String::new(),
                    format!("data[i] = {}1u{};", chain(n, "min(1u, "), chain(n, ")")),
                ),
                (
                    String::new(),
                    format!("if i == 9u {{ }}{}", chain(n, " else if i == 1u { }")),
                ),
                (String::new(), nested(n, "if i == 0u { ", "}")),
                (String::new(), nested(n, "loop { ", "break; }")),
                (String::new(), nested(n, "{ ", "}")),
                (calls(n), format!("g{}();", n - 1)),
                (constants(n), format!("data[i] = u32(c{});", n - 1)),
                (
                    format!("alias T = {}f32{};", chain(n, "array<"), chain(n, ", 1>")),
                    String::new(),
                ),
            ] {
                if let Ok(kernel) = Kernel::new(&text(&declarations, 1, &body), "kernel", &[]) {
                    let _ = kernel.launch(&mut buffers(), [1, 1, 1], &STRICT);
                }
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_binding_needs_a_buffer_that_is_long_enough() {
    let declarations = "struct S { a: vec4<f32>, b: array<f32> }
        @group(0) @binding(2) var<uniform> u: mat4x4<f32>;
        @group(0) @binding(3) var<storage> s: S;";
    let text = text(
        declarations,
        1,
        "data[i] = u32(u[0].x + s.a.x) + arrayLength(&s.b);",
    );
    let kernel = Kernel::new(&text, "kernel", &[]).unwrap();
    let mut buffers = buffers();
    for (number, words, says) in [
        (
            2,
            15,
            "the buffer of binding 2, u, has 15 words and needs 16",
        ),
        (2, 16, "binding 3, s, has no buffer"),
        (3, 3, "the buffer of binding 3, s, has 3 words and needs 4"),
    ] {
        if number == 2 && words == 15 {
            let found = kernel.launch(&mut buffers, [1, 1, 1], &STRICT).unwrap_err();
            assert_eq!(found.message, "binding 2, u, has no buffer");
        }
        buffers.insert(number, vec![1.0_f32.to_bits(); words]);
        let found = kernel.launch(&mut buffers, [1, 1, 1], &STRICT).unwrap_err();
        assert_eq!((found.kind, &*found.message), (What::Buffer, says));
    }
    buffers.insert(3, vec![1.0_f32.to_bits(); 9]);
    kernel.launch(&mut buffers, [1, 1, 1], &STRICT).unwrap();
    assert_eq!(buffers[&0][0], 2 + 5);
}

#[test]
fn overrides_are_what_the_caller_sets() {
    let text = text(
        "override N: u32 = 2u; override M = N * 2u; override F: f32; override B: bool = false;
         override W: u32 = 1u;
         var<workgroup> w: array<u32, M>;
         @compute @workgroup_size(W * 2) fn wide(@builtin(local_invocation_index) i: u32) {
             data[i] = arrayish() + i; }
         fn arrayish() -> u32 { w[0] = 0u; return M; }",
        1,
        "var x = M + 1u; let y = F * 2.0; w[M - 1u] = u32(y);
         data[0] = x; data[1] = w[N * 2u - 1u]; data[2] = select(0u, 1u, B);",
    );
    let run = |constants: &[(&str, f64)]| -> Result<Vec<u32>, String> {
        let kernel = Kernel::new(&text, "kernel", constants).map_err(|e| e.message)?;
        let mut buffers = buffers();
        let outcome = kernel.launch(&mut buffers, [1, 1, 1], &STRICT);
        outcome.map_err(|e| e.message)?;
        Ok(buffers.remove(&0).unwrap()[..3].to_vec())
    };
    assert_eq!(run(&[("F", 1.5)]), Ok(vec![5, 3, 0]));
    let all = [("F", 2.0), ("N", 5.0), ("B", 1.0), ("unknown", 1.0)];
    assert_eq!(run(&all), Ok(vec![11, 4, 1]));
    assert_eq!(
        run(&[("F", 1.0), ("M", 1.0)]),
        Err("invocation 0 reads beyond the end of w: element 3 of 1".to_owned())
    );
    assert_eq!(run(&[]), Err("the constant F has no value".to_owned()));
    assert_eq!(
        run(&[("F", 1.0), ("N", -1.0)]),
        Err("the constant N cannot be -1".to_owned())
    );
    assert_eq!(
        run(&[("F", f64::NAN)]),
        Err("the constant F cannot be NaN".to_owned())
    );
    assert!(
        run(&[("F", 1.0), ("N", 0.0)])
            .unwrap_err()
            .contains("no elements")
    );
    let wide = Kernel::new(&text, "wide", &[("W", 2.0), ("F", 0.0)]).unwrap();
    let found = wide.launch(&mut buffers(), [1, 1, 1], &STRICT).unwrap_err();
    assert_eq!(
        found.message,
        "invocations 1 and 0 write word 0 of w, without a barrier"
    );
}

#[test]
fn statements_do_what_wgsl_says() {
    for (body, want) in [
        // Loops: continuing, break-if, continue, return from within.
        (
            "var n = 0u; loop { if n == 1u { n += 5u; continue; } n += 1u; continuing { data[0] += n; break if n > 6u; } }
             data[1] = n;",
            vec![7 + 1 + 6 + 7, 7],
        ),
        ("var k = 0u; while k < 5u { k++; if k == 3u { data[0] = k; return; } } data[1] = 0u;", vec![3, 7]),
        // Switches, also within loops.
        (
            "for (var k = 0; k < 5; k++) { switch k { case 1, 2: { data[0] += 1u; } case 3: { continue; }
             default: { if k == 4 { break; } data[1] += 1u; } } data[2] += 1u; }",
            vec![9, 8, 11],
        ),
        ("switch data[0] { case 7u: { data[0] = 8u; } case 8u: { data[1] = 0u; } default: { data[2] = 0u; } }", vec![8, 7, 7]),
        // Calls and pointers.
        ("data[0] = twice(3u) + twice(twice(1u)); var x = 1u; bump(&x); bump(&x); data[1] = x;", vec![10, 3]),
        ("data[0] = early(0u); data[1] = early(5u); data[2] = bools().n;", vec![1, 2, 9]),
        ("p = 4u; bump_private(); data[0] = p + q;", vec![5 + 3]),
        // A variable in a loop begins anew.
        ("for (var k = 0u; k < 3u; k++) { var x: u32; x += k; data[k] = x; }", vec![0, 1, 2]),
        // Structures, arrays, matrices, swizzles.
        (
            "var s = S(vec3<f32>(1.0, 2.0, 3.0), 4.0, array<u32, 2>(5u, 6u)); s.v.y = 8.0; s.a[1] = 9u; let t = s;
             data[0] = u32(t.v.y + t.f); data[1] = t.a[1]; let w = t.v.zyx; data[2] = u32(w.x);",
            vec![12, 9, 3],
        ),
        (
            "let m = mat2x3<f32>(1.0, 2.0, 3.0, 4.0, 5.0, 6.0); let v = m * vec2<f32>(1.0, 10.0); data[0] = u32(v.z);
             let u = vec3<f32>(1.0, 1.0, 1.0) * m; data[1] = u32(u.y); let k = transpose(m) * m; data[2] = u32(k[1][0]);
             data[3] = u32((2.0 * m)[1].y); data[4] = u32((m + m)[0].z); data[5] = u32((m * 3.0)[0].x);
             data[6] = u32(determinant(mat3x3<f32>(2.0, 0.0, 1.0, 0.0, 3.0, 0.0, 1.0, 0.0, 4.0)));",
            vec![63, 15, 32, 10, 6, 3, 21],
        ),
        ("var m = mat3x3<f32>(); m[1] = vec3<f32>(1.0, 2.0, 3.0); m[1][i + 1u] += 4.0; data[0] = u32(m[1].y);", vec![6]),
        // Bools take part, too.
        (
            "var b = array<bool, 3>(true, false, true); b[i + 1u] = b[0]; data[0] = u32(b[1]) + u32(all(vec2<bool>(b[1], b[2])));
             data[1] = select(1u, 2u, b[1] && !b[2]); data[2] = u32(any(vec2<bool>(false, b[2] != b[1])));",
            vec![2, 1, 0],
        ),
        ("data[0] = data[1] / (data[1] - 7u) + data[1] % (data[1] - 7u);", vec![7]),
        (
            "var n = i32(data[0]) - 8; data[0] = u32(n / 2 + 5); data[1] = u32(-7 % (n * 3) + 5); data[2] = u32(n >> 1u) >> 31u;
             data[3] = bitcast<u32>(bitcast<f32>(data[3])); n = -2147483647 - 1; data[4] = u32(n / (i32(data[5]) - 8));",
            vec![5, 4, 1, 7, 1 << 31],
        ),
        ("var v = vec4<u32>(data[0]); v += 1u; v.x++; v.y -= 3u; v *= 2u; data[0] = v.x; data[1] = v.y; data[2] = v.w << 1u;", vec![18, 10, 32]),
        ("data[0] = arrayLength(&given); let r = &data[1]; *r = 5u; data[2] = K; data[3] = u32(TABLE[i + 1u]);", vec![4, 5, 6, 20]),
        (
            "let f = modf(3.75); data[0] = u32(f.whole); data[1] = u32(f.fract * 8.0); let e = frexp(given[3]);
             data[2] = u32(e.exp); data[3] = u32(e.fract * 10000.0); let v = modf(vec3<f32>(1.5, 2.5, given[2]));
             data[4] = u32(v.whole.y + v.fract.x * 2.0);",
            vec![3, 6, 2, 8125, 3],
        ),
    ] {
        let declarations = "struct S { v: vec3<f32>, f: f32, a: array<u32, 2> }
            struct Bools { a: bool, b: bool, n: u32, c: bool }
            const K = 2u * 3u; const TABLE = array<f32, 2>(10.0, 20.0);
            var<private> p: u32; var<private> q: u32 = 3u;
            fn twice(x: u32) -> u32 { return x + x; }
            fn bump(x: ptr<function, u32>) { *x += 1u; }
            fn bump_private() { p++; }
            fn bools() -> Bools { var b = Bools(true, false, 8u, true); b.b = b.c; if b.b && b.a { b.n++; } return b; }
            fn early(n: u32) -> u32 { for (var k = 0u; k < 9u; k++) { if k > n { return k; } if n == 5u { return 2u; } } return 100u; }";
        let got = words(declarations, body);
        assert_eq!(got[..want.len()], want, "{body}");
    }
}

#[test]
fn builtins_of_the_entry_point_may_come_in_a_struct() {
    let text = "struct In { @builtin(local_invocation_id) l: vec3<u32>, @builtin(global_invocation_id) g: vec3<u32>,
            @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) i: u32 }
        @group(0) @binding(0) var<storage, read_write> data: array<vec4<u32>>;
        @compute @workgroup_size(2, 2) fn kernel(in: In) {
            data[in.g.y * 4u + in.g.x] = vec4<u32>(in.l.x, in.l.y, in.n.x, in.i);
        }";
    let kernel = Kernel::new(text, "kernel", &[]).unwrap();
    let mut buffers = Buffers::from([(0, vec![0; 32])]);
    kernel.launch(&mut buffers, [2, 1, 1], &STRICT).unwrap();
    assert_eq!(buffers[&0][28..], [1, 1, 2, 3]);
    assert_eq!(buffers[&0][20..24], [1, 1, 2, 3]);
    assert_eq!(buffers[&0][8..12], [0, 0, 2, 0]);
}

#[test]
fn atomics_do_not_race() {
    let declarations = "@group(0) @binding(2) var<storage, read_write> sums: array<atomic<i32>, 9>;
        var<workgroup> count: atomic<u32>;";
    let text = text(
        declarations,
        64,
        "let n = i32(i);
         atomicAdd(&sums[0], n); atomicSub(&sums[1], n); atomicMax(&sums[2], n - 70); atomicMin(&sums[3], n);
         atomicOr(&sums[4], 1 << (i % 8u)); atomicXor(&sums[5], n); atomicAnd(&sums[6], ~1);
         if i == 5u { atomicExchange(&sums[7], 12); }
         let r = atomicCompareExchangeWeak(&sums[8], n, n + 1);
         if r.exchanged { atomicAdd(&count, 1u); }
         workgroupBarrier();
         let all = workgroupUniformLoad(&count);
         if i < 4u { data[i] = all + atomicLoad(&count); }
         workgroupBarrier();
         atomicStore(&count, 0u);",
    );
    let kernel = Kernel::new(&text, "kernel", &[]).unwrap();
    let mut buffers = buffers();
    let sums = [0, 0, -99_i32, 99, 0, 0, 7, 0, 0].map(|n| n as u32);
    buffers.insert(2, sums.to_vec());
    kernel.launch(&mut buffers, [1, 1, 1], &STRICT).unwrap();
    let got: Vec<i32> = buffers[&2].iter().map(|&n| n as i32).collect();
    assert_eq!(got, [2016, -2016, -7, 0, 255, 0, 6, 12, 64]);
    assert_eq!(buffers[&0][..5], [128, 128, 128, 128, 7]);
    // Of two workgroups, too.
    let text = "@group(0) @binding(0) var<storage, read_write> n: atomic<u32>;
        @compute @workgroup_size(8) fn kernel() { atomicAdd(&n, 2u); }";
    let kernel = Kernel::new(text, "kernel", &[]).unwrap();
    let mut buffers = Buffers::from([(0, vec![1])]);
    kernel.launch(&mut buffers, [3, 1, 1], &STRICT).unwrap();
    assert_eq!(buffers[&0], [49]);
}

/// What WGSL's function gives for words that are read at run time, so that naga computes nothing.
fn called(call: &str, arguments: &[u32]) -> u32 {
    let mut body = String::new();
    for (n, word) in arguments.iter().enumerate() {
        body += &format!(
            "var {0} = data[{n}]; let {0}f = bitcast<f32>({0}); let {0}i = bitcast<i32>({0});\n",
            ["a", "b", "c", "d"][n]
        );
        let _ = word;
    }
    body += &format!("data[0] = {call};");
    let kernel = Kernel::new(&text("", 1, &body), "kernel", &[]);
    let kernel = kernel.unwrap_or_else(|refused| panic!("{call}: {refused}"));
    let mut buffers = buffers();
    for (n, &word) in arguments.iter().enumerate() {
        buffers.get_mut(&0).unwrap()[n] = word;
    }
    kernel.launch(&mut buffers, [1, 1, 1], &STRICT).unwrap();
    buffers[&0][0]
}

#[test]
fn functions_of_one_float_are_those_of_rust() {
    type F = fn(f32) -> f32;
    let functions: [(&str, F); 31] = [
        ("abs", f32::abs),
        ("saturate", |x| x.clamp(0.0, 1.0)),
        ("cos", f32::cos),
        ("cosh", f32::cosh),
        ("sin", f32::sin),
        ("sinh", f32::sinh),
        ("tan", f32::tan),
        ("tanh", f32::tanh),
        ("acos", f32::acos),
        ("asin", f32::asin),
        ("atan", f32::atan),
        ("asinh", f32::asinh),
        ("acosh", f32::acosh),
        ("atanh", f32::atanh),
        ("radians", f32::to_radians),
        ("degrees", f32::to_degrees),
        ("ceil", f32::ceil),
        ("floor", f32::floor),
        ("round", f32::round_ties_even),
        ("fract", |x| x - x.floor()),
        ("trunc", f32::trunc),
        ("exp", f32::exp),
        ("exp2", f32::exp2),
        ("log", f32::ln),
        ("log2", f32::log2),
        ("sqrt", f32::sqrt),
        ("inverseSqrt", |x| 1.0 / x.sqrt()),
        ("sign", |x| if x == 0.0 { x } else { x.signum() }),
        ("length", f32::abs),
        ("-", |x| -x),
        ("1.0 / ", |x| 1.0 / x),
    ];
    for (name, function) in functions {
        for x in [
            -2.5_f32,
            -1.0,
            -0.3,
            0.0,
            0.5,
            1.0,
            1.5,
            40.0,
            f32::INFINITY,
        ] {
            let got = called(&format!("bitcast<u32>({name}(af))"), &[x.to_bits()]);
            let (got, want) = (f32::from_bits(got), function(x));
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{name}({x}): {got}, {want}"
            );
        }
    }
}

#[test]
fn other_functions_are_those_of_rust() {
    let f = |x: f32| x.to_bits();
    let i = |x: i32| x as u32;
    for (call, arguments, want) in [
        ("bitcast<u32>(min(af, bf))", vec![f(1.5), f(-2.0)], f(-2.0)),
        ("bitcast<u32>(max(af, bf))", vec![f(1.5), f(-2.0)], f(1.5)),
        (
            "bitcast<u32>(clamp(af, bf, cf))",
            vec![f(1.5), f(-2.0), f(0.5)],
            f(0.5),
        ),
        (
            "bitcast<u32>(pow(af, bf))",
            vec![f(1.5), f(3.3)],
            f(1.5_f32.powf(3.3)),
        ),
        (
            "bitcast<u32>(atan2(af, bf))",
            vec![f(1.5), f(-3.3)],
            f(1.5_f32.atan2(-3.3)),
        ),
        (
            "bitcast<u32>(fma(af, bf, cf))",
            vec![f(1.1), f(3.3), f(0.7)],
            f(1.1_f32.mul_add(3.3, 0.7)),
        ),
        (
            "bitcast<u32>(mix(af, bf, cf))",
            vec![f(1.0), f(3.0), f(0.25)],
            f(1.5),
        ),
        (
            "bitcast<u32>(mix(vec2<f32>(af), vec2<f32>(bf), cf).y)",
            vec![f(1.0), f(3.0), f(0.25)],
            f(1.5),
        ),
        ("bitcast<u32>(step(af, bf))", vec![f(1.0), f(1.0)], f(1.0)),
        (
            "bitcast<u32>(smoothstep(af, bf, cf))",
            vec![f(1.0), f(3.0), f(1.5)],
            f(0.15625),
        ),
        (
            "bitcast<u32>(ldexp(af, bi))",
            vec![f(1.5), i(-3)],
            f(0.1875),
        ),
        (
            "bitcast<u32>(dot(vec3<f32>(af, bf, cf), vec3<f32>(1.0, 2.0, 3.0)))",
            vec![f(1.0), f(2.0), f(3.0)],
            f(14.0),
        ),
        (
            "bitcast<u32>(cross(vec3<f32>(af, bf, cf), vec3<f32>(1.0, 0.0, 3.0)).y)",
            vec![f(1.0), f(2.0), f(3.0)],
            f(0.0),
        ),
        (
            "bitcast<u32>(length(vec2<f32>(af, bf)))",
            vec![f(3.0), f(4.0)],
            f(5.0),
        ),
        (
            "bitcast<u32>(distance(vec2<f32>(af, bf), vec2<f32>(0.0, 1.0)))",
            vec![f(3.0), f(5.0)],
            f(5.0),
        ),
        (
            "bitcast<u32>(normalize(vec2<f32>(af, bf)).y)",
            vec![f(3.0), f(4.0)],
            f(0.8),
        ),
        (
            "bitcast<u32>(reflect(vec2<f32>(af, bf), vec2<f32>(0.0, 1.0)).y)",
            vec![f(3.0), f(4.0)],
            f(-4.0),
        ),
        (
            "bitcast<u32>(faceForward(vec2<f32>(af, bf), vec2<f32>(0.0, 1.0), vec2<f32>(0.0, 1.0)).y)",
            vec![f(3.0), f(4.0)],
            f(-4.0),
        ),
        (
            "bitcast<u32>(refract(vec2<f32>(af, bf), vec2<f32>(0.0, 1.0), 1.0).y)",
            vec![f(0.0), f(-1.0)],
            f(-1.0),
        ),
        ("bitcast<u32>(af % bf)", vec![f(-7.5), f(2.0)], f(-1.5)),
        (
            "u32(af < bf) + 2u * u32(af <= bf) + 4u * u32(af == bf) + 8u * u32(af != bf)",
            vec![f(1.0), f(f32::NAN)],
            8,
        ),
        (
            "u32(ai < bi) + 2u * u32(ai >= bi) + 4u * u32(a < b) + 8u * u32(a > b)",
            vec![i(-1), 1],
            1 + 8,
        ),
        ("u32(af) + u32(bf)", vec![f(-3.0), f(1e20)], u32::MAX),
        ("bitcast<u32>(i32(af))", vec![f(-3.7)], i(-3)),
        ("bitcast<u32>(f32(ai))", vec![i(-3)], f(-3.0)),
        ("bitcast<u32>(f32(a))", vec![u32::MAX], f(4_294_967_296.0)),
        (
            "u32(bool(af)) + u32(bool(b)) + u32(f32(bool(b)))",
            vec![f(0.5), 2],
            3,
        ),
        ("bitcast<u32>(abs(ai))", vec![i(-3)], 3),
        ("bitcast<u32>(sign(ai))", vec![i(-3)], i(-1)),
        (
            "bitcast<u32>(min(ai, bi) + 10 * max(ai, bi))",
            vec![i(-3), 2],
            17,
        ),
        ("bitcast<u32>(clamp(ai, bi, 0))", vec![i(-3), i(-2)], i(-2)),
        (
            "min(a, b) + 10u * max(a, b) + clamp(a, 1u, 2u)",
            vec![5, 2],
            54,
        ),
        (
            "bitcast<u32>(dot(vec2<i32>(ai, bi), vec2<i32>(2, 3)))",
            vec![i(-5), 2],
            i(-4),
        ),
        ("bitcast<u32>(-ai)", vec![i(i32::MIN)], i(i32::MIN)),
        ("~a & (b | 1u) ^ 8u", vec![5, 2], (!5 & (2 | 1)) ^ 8),
        ("(a << b) + (a >> 1u)", vec![5, 33], 10 + 2),
        ("countOneBits(a)", vec![0xf0f], 8),
        (
            "countLeadingZeros(a) + 100u * countTrailingZeros(a)",
            vec![0xf0],
            424,
        ),
        ("reverseBits(a)", vec![1], 1 << 31),
        (
            "firstLeadingBit(a) + 100u * firstTrailingBit(a)",
            vec![0xf0],
            407,
        ),
        ("firstLeadingBit(a) ^ firstTrailingBit(a)", vec![0], 0),
        ("bitcast<u32>(firstLeadingBit(ai))", vec![i(-2)], 0),
        (
            "extractBits(a, 4u, 8u) + extractBits(a, 30u, 99u)",
            vec![0xffff_f120],
            0x12 + 3,
        ),
        ("bitcast<u32>(extractBits(ai, 4u, 4u))", vec![0xf0], i(-1)),
        (
            "insertBits(a, b, 4u, 8u)",
            vec![0xffff_ffff, 0x12],
            0xffff_f12f,
        ),
        ("select(a, b, a > b)", vec![3, 4], 3),
    ] {
        assert_eq!(called(call, &arguments), want, "{call}");
    }
}

/// The tokens of a text, roughly.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in text.chars() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        match tokens.last_mut() {
            Some(last) if word && in_word => last.push(c),
            _ => tokens.push(c.to_string()),
        }
        in_word = word;
    }
    tokens
}

/// Texts in which tokens are missing, doubled, exchanged or replaced: whatever becomes of them, there is an
/// answer, and soon.
#[test]
fn texts_that_are_broken_at_random_end_with_an_answer() {
    let whole = text(
        "override N: u32 = 3u; struct S { a: vec3<f32>, b: array<u32, 2> } const T = array<i32, 2>(1, 2);
         var<workgroup> w: array<vec4<f32>, 4>; var<private> p: S; var<workgroup> c: atomic<u32>;
         fn f(x: ptr<function, u32>, y: f32) -> f32 { *x += u32(y); if y > 2.0 { return y; } return f32(*x) * y; }",
        4,
        "var x = i; let y = f(&x, given[i]); w[i] = vec4<f32>(y, 1.0, f32(x), -2.0); workgroupBarrier();
         for (var k = 0u; k < N; k++) { if k == i { continue; } x += u32(dot(w[k], w[i].wzyx)); }
         switch x % 3u { case 0u, 1u: { p.b[1] = x; } default: { p.a[i % 3u] = tanh(y); } }
         loop { x -= 1u; atomicAdd(&c, x); continuing { break if x < 5u || x > 100u; } }
         let m = mat2x2<f32>(y, 1.0, 2.0, 3.0) * vec2<f32>(1.0, select(2.0, 3.0, x == 1u));
         data[2u * i] = p.b[1] + u32(m.x) + u32(T[i & 1u]); storageBarrier(); data[2u * i + 1u] = data[2u * i];",
    );
    let kernel = Kernel::new(&whole, "kernel", &[]).unwrap_or_else(|refused| panic!("{refused}"));
    kernel.launch(&mut buffers(), [1, 1, 1], &STRICT).unwrap();
    let tokens = tokens(&whole);
    // xorshift
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let (mut ran, mut slowest) = (0, Duration::ZERO);
    for _ in 0..4000 {
        let mut tokens = tokens.clone();
        for _ in 0..=random(3) {
            let (a, b) = (random(tokens.len()), random(tokens.len()));
            match random(5) {
                0 => drop(tokens.remove(a)),
                1 => tokens.insert(a, tokens[a].clone()),
                2 => tokens.swap(a, b),
                3 => tokens[a] = tokens[b].clone(),
                _ => {
                    tokens[a] = [
                        "0u",
                        "4294967295u",
                        "-1",
                        "é",
                        "1e38",
                        "@",
                        "vec2",
                        ">>",
                        "while",
                    ][random(9)]
                    .to_owned()
                }
            }
        }
        let text = tokens.concat();
        let begun = Instant::now();
        let rules = Rules {
            steps: 1_000_000,
            ..STRICT
        };
        match Kernel::new(&text, "kernel", &[]) {
            Ok(kernel) => {
                ran += 1;
                if let Err(finding) = kernel.launch(&mut buffers(), [2, 1, 1], &rules) {
                    assert!(
                        finding.line >= 1 && !finding.message.is_empty(),
                        "{finding}"
                    );
                }
            }
            Err(refused) => assert!(
                refused.line >= 1 && !refused.message.is_empty(),
                "{refused}"
            ),
        }
        slowest = slowest.max(begun.elapsed());
    }
    assert!(ran > 200, "only {ran} texts were valid");
    assert!(slowest < SOON, "{slowest:?}");
}
