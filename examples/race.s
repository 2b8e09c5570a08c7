; A program with a bug, to see what a fault report looks like.
;
;     cnnip asm examples/race.s -o race.cnnip
;     iss-run race.cnnip examples/digits/images/7_00.png
;
; cnn doubles the contrast of a picture in place, and dma1 takes it away. The author has forgotten that dma1 must wait for
; cnn. On a real device this works on most days: the copy usually comes late enough. Here it is a fault whatever the timing,
; because order comes from tokens alone.

.target v4h
.layer 1 contrast
.region picture input
.region result output
.tensor picture int8 [1, 8, 8, 1] scale=0.00392156862745098 zero=-128
.tensor result int8 [1, 8, 8, 1]
.input picture height=8 width=8 layout=nhwc color=gray pixel_offset=-128
.token 0 dma0 -> cnn
.token 1 dma0 -> dma1

.list dma0
    set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=sram, DST_ADDR 0x0
    set RUN_BYTES 64, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    run COPY
    signal 0
    signal 1
    end
.endlist

.list cnn
    mark 1
    set FORMAT IN=int8 OUT=int8
    set IN_ADDR 0x0, IN_SIZE W=8 H=8, IN_C 1, IN_ROW 8, IN_PIX 1
    set IN_ZERO 0
    set OUT_ADDR 0x0, OUT_SIZE W=8 H=8, OUT_C 1, OUT_ROW 8, OUT_PIX 1
    set OUT_ZERO 0, OUT_MIN -128, OUT_MAX 127
    set ELTWISE FUNCTION=pass
    set REQUANT MODE=float, OUT_MULT 2.0f
    wait 0 1
    run ELTWISE
    end
.endlist

.list dma1
    mark 1
    set SRC_PLACE KIND=sram, SRC_ADDR 0x0, DST_PLACE KIND=dram REGION=1, DST_ADDR 0
    set RUN_BYTES 64, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    wait 1 1                    ; waits for dma0, who fetched the picture, and not for cnn, who changes it
    run COPY
    end
.endlist
