//# hint
// INNER vanishes in two loops: the outer one over the tiles, the inner one over the 8 places in a
// tile. INNER is not a multiple of 8, so the last tile sticks out. Which value adds nothing to a
// sum?

//# hint
// Say all is 1 by 1 but INNER is 2, and a tile has one place. Load a[0] and b[0], wait, multiply
// and add, load a[1] and b[1], ... . What could go wrong between the multiplication and the next
// load?

//# hint
// In words: for each step of 8: store my value of a and of b in the tiles, zero where there is
// none; wait; add up 8 products, my row of tile_a with my column of tile_b; wait. After the loop,
// store the sum if I have an element.

//# solution
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        // My value of each tile. Beyond the edge it is zero, which adds nothing to any sum.
        var from_a = 0.0;
        if row < ROWS && first + local.x < INNER {
            from_a = a[row * INNER + first + local.x];
        }
        var from_b = 0.0;
        if first + local.y < INNER && col < COLS {
            from_b = b[(first + local.y) * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        // Barrier 1: the tiles are complete before anyone reads them.
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        // Barrier 2: everyone has read them before anyone loads the next ones.
        workgroupBarrier();
    }
    // Only here: an invocation without an element still had to load and to wait.
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# other: tiles counted, zero stored first
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    let tiles = (INNER + 7u) / 8u;
    for (var tile = 0u; tile < tiles; tile++) {
        let k_of_a = tile * 8u + local.x;
        let k_of_b = tile * 8u + local.y;
        tile_a[place] = 0.0;
        tile_b[place] = 0.0;
        if id.y < ROWS && k_of_a < INNER {
            tile_a[place] = a[id.y * INNER + k_of_a];
        }
        if k_of_b < INNER && id.x < COLS {
            tile_b[place] = b[k_of_b * COLS + id.x];
        }
        workgroupBarrier();
        var part = 0.0;
        var k = 8u;
        while k > 0u {
            k -= 1u;
            part = fma(tile_a[local.y * 8u + k], tile_b[k * 8u + local.x], part);
        }
        sum += part;
        workgroupBarrier();
    }
    if id.y < ROWS && id.x < COLS {
        result[id.y * COLS + id.x] = sum;
    }
}

//# other: the inner loop ends at the edge
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    // Beyond the edge, the last row and column are loaded again: nobody stores what they give.
    let row = min(id.y, ROWS - 1u);
    let col = min(id.x, COLS - 1u);
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        let there = min(8u, INNER - first);
        // Of the tile, only the first `there` places along INNER are loaded and used.
        if local.x < there {
            tile_a[place] = a[row * INNER + first + local.x];
        }
        if local.y < there {
            tile_b[place] = b[(first + local.y) * COLS + col];
        }
        workgroupBarrier();
        for (var k = 0u; k < there; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    if id.y < ROWS && id.x < COLS {
        result[id.y * COLS + id.x] = sum;
    }
}

//# plain: without tiles
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y >= ROWS || id.x >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[id.y * INNER + k] * b[k * COLS + id.x];
    }
    result[id.y * COLS + id.x] = sum;
}

//# mistake: only whole tiles
//> The last terms of each sum are missing: the tile that sticks out over the edge has been left
//> out.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first + 8u <= INNER; first += 8u) {
        var from_a = 0.0;
        if row < ROWS {
            from_a = a[row * INNER + first + local.x];
        }
        var from_b = 0.0;
        if col < COLS {
            from_b = b[(first + local.y) * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# mistake: the edge repeated
//> Beyond the edge of INNER you load the last value again. What must a place hold that is to add
//> nothing?
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = min(id.y, ROWS - 1u);
    let col = min(id.x, COLS - 1u);
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        tile_a[place] = a[row * INNER + min(first + local.x, INNER - 1u)];
        tile_b[place] = b[min(first + local.y, INNER - 1u) * COLS + col];
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    if id.y < ROWS && id.x < COLS {
        result[id.y * COLS + id.x] = sum;
    }
}

//# mistake: tile_b read along its rows
//> The tiles are loaded correctly, but one of them is read with its two indices swapped.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        var from_a = 0.0;
        if row < ROWS && first + local.x < INNER {
            from_a = a[row * INNER + first + local.x];
        }
        var from_b = 0.0;
        if first + local.y < INNER && col < COLS {
            from_b = b[(first + local.y) * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[local.x * 8u + k];
        }
        workgroupBarrier();
    }
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# mistake: the last tile only
//> The sum starts again with every tile, so only the last tile is left.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        var from_a = 0.0;
        if row < ROWS && first + local.x < INNER {
            from_a = a[row * INNER + first + local.x];
        }
        var from_b = 0.0;
        if first + local.y < INNER && col < COLS {
            from_b = b[(first + local.y) * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        workgroupBarrier();
        sum = 0.0;
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# mistake: the same tile again
//> Every step loads the first tile. Does your load know which step it is?
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        var from_a = 0.0;
        if row < ROWS && local.x < INNER {
            from_a = a[row * INNER + local.x];
        }
        var from_b = 0.0;
        if local.y < INNER && col < COLS {
            from_b = b[local.y * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# race: the first barrier missing
//> The tiles are read before it is certain that all of their values have been stored.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        var from_a = 0.0;
        if row < ROWS && first + local.x < INNER {
            from_a = a[row * INNER + first + local.x];
        }
        var from_b = 0.0;
        if first + local.y < INNER && col < COLS {
            from_b = b[(first + local.y) * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# race: the second barrier missing
//> A fast invocation may load the next tiles while a slow one still reads these.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        var from_a = 0.0;
        if row < ROWS && first + local.x < INNER {
            from_a = a[row * INNER + first + local.x];
        }
        var from_b = 0.0;
        if first + local.y < INNER && col < COLS {
            from_b = b[(first + local.y) * COLS + col];
        }
        tile_a[place] = from_a;
        tile_b[place] = from_b;
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
    }
    if row < ROWS && col < COLS {
        result[row * COLS + col] = sum;
    }
}

//# race: returned before the barrier
//> Invocations beyond the edge have left, so not all come to the barrier. And the values that
//> they should have loaded are missing.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS || col >= COLS {
        return;
    }
    let place = local.y * 8u + local.x;
    var sum = 0.0;
    for (var first = 0u; first < INNER; first += 8u) {
        tile_a[place] = 0.0;
        if first + local.x < INNER {
            tile_a[place] = a[row * INNER + first + local.x];
        }
        tile_b[place] = 0.0;
        if first + local.y < INNER {
            tile_b[place] = b[(first + local.y) * COLS + col];
        }
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            sum += tile_a[local.y * 8u + k] * tile_b[k * 8u + local.x];
        }
        workgroupBarrier();
    }
    result[row * COLS + col] = sum;
}

//# question
// No, for two reasons: all 64 must come to each barrier, and the others rely on the values that
// it loads. Only the last store is conditional.
