; A pipeline with loops: 2x2 max pooling of a picture, strip by strip.
;
;     cnnip asm examples/loop.s -o pool.cnnip
;     iss-run pool.cnnip examples/digits/images/7_00.png --trace
;
; While cnn works on one strip, dma0 fetches the next and dma1 takes the one before away. The trace shows how they overlap.

.target v4h
.region picture input
.region result output
.tensor picture int8 [1, 8, 8, 1] scale=0.00392156862745098 zero=-128
.tensor result int8 [1, 4, 4, 1] scale=0.00392156862745098 zero=-128
.input picture height=8 width=8 layout=nhwc color=gray pixel_offset=-128
.token 0 dma0 -> cnn
.token 1 cnn -> dma1

; Four strips of two rows: 16 bytes each.
.list dma0
    set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=sram, DST_ADDR 0x0
    set RUN_BYTES 16, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    loop 4
    run COPY
    signal 0
    next SRC_ADDR=+16, DST_ADDR=+16     ; adds, and goes back to the command after `loop`; after the last round it does neither
    end
.endlist

; One strip in, one row of four pixels out.
.list cnn
    set FORMAT IN=int8 OUT=int8
    set IN_ADDR 0x0, IN_SIZE W=8 H=2, IN_C 1, IN_ROW 8, IN_PIX 1
    set OUT_ADDR 0x100, OUT_SIZE W=4 H=1
    set OUT_ROW 4, OUT_PIX 1
    set OUT_MIN -128, OUT_MAX 127
    set KERNEL W=2 H=2, STRIDE X=2 Y=2
    set PAD LEFT=0 TOP=0
    loop 4
    wait 0 1
    run POOL_MAX
    signal 1
    next IN_ADDR=+16, OUT_ADDR=+4
    end
.endlist

.list dma1
    set SRC_PLACE KIND=sram, SRC_ADDR 0x100, DST_PLACE KIND=dram REGION=1, DST_ADDR 0
    set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    loop 4
    wait 1 1
    run COPY
    next SRC_ADDR=+4, DST_ADDR=+4
    end
.endlist
