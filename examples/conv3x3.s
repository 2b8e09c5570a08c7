; Edges of a picture: a 3x3 convolution written by hand.
;
;     cnnip asm examples/conv3x3.s -o edges.cnnip
;     iss-run edges.cnnip examples/digits/images/7_00.png
;
; Three engines work together. dma0 fetches the picture, dma1 the weights, cnn computes, and dma0 takes the result away.
; Tokens say who waits for whom: without them nothing is ordered between engines.

.target v4h
.layer 1 edges macs=576

; External memory. The device knows regions by number: 0, 1, 2 in this order.
.region picture input
.region result output
.constant weights
    ; The kernel    0  1  0
    ;               1 -4  1     in the layout dense8: one block of 64 bytes per tap, [16 output channels][4 input channels].
    ;               0  1  0     There is one channel of each, so the first byte of a block counts and the rest is padding.
    .i8 0
    .align 64
    .i8 1
    .align 64
    .i8 0
    .align 64
    .i8 1
    .align 64
    .i8 -4
    .align 64
    .i8 1
    .align 64
    .i8 0
    .align 64
    .i8 1
    .align 64
    .i8 0
    .align 64
    ; The record of output channel 0, at byte 576: bias 0, scale 1/8, no shift.
    .record 0 0.125f 0

; What the bytes mean to the host. A pixel p becomes the int8 p - 128, which stands for p / 255: scale 1/255, zero point -128.
.tensor picture int8 [1, 8, 8, 1] scale=0.00392156862745098 zero=-128
.tensor result int8 [1, 8, 8, 1]
.input picture height=8 width=8 layout=nhwc color=gray pixel_offset=-128

.token 0 dma0 -> cnn            ; the picture is there
.token 1 dma1 -> cnn            ; the weights are there
.token 2 cnn -> dma0            ; the result is there

.list dma0
    set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=sram, DST_ADDR 0x0
    set RUN_BYTES 64, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    run COPY
    signal 0
    wait 2 1
    set SRC_PLACE KIND=sram, SRC_ADDR 0x40, DST_PLACE KIND=dram REGION=1, DST_ADDR 0
    run COPY                    ; the other registers keep their values
    end
.endlist

.list dma1
    set SRC_PLACE KIND=dram REGION=2, SRC_ADDR 0, DST_PLACE KIND=sram, DST_ADDR 0x1000
    set RUN_BYTES 592, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    run COPY
    signal 1
    end
.endlist

.list cnn
    mark 1                      ; reports name the layer
    set FORMAT IN=int8 OUT=int8 WEIGHTS=int8
    set IN_ADDR 0x0, IN_SIZE W=8 H=8, IN_C 1, IN_ROW 8, IN_PIX 1
    set IN_ZERO -128, PAD_VALUE -128        ; outside of the picture it is black
    set OUT_ADDR 0x40, OUT_SIZE W=8 H=8, OUT_C 1, OUT_ROW 8, OUT_PIX 1
    set OUT_ZERO 0, OUT_MIN -128, OUT_MAX 127
    set KERNEL W=3 H=3, STRIDE X=1 Y=1, DILATION X=1 Y=1, PAD LEFT=1 TOP=1
    set GROUPS 1
    set W_ADDR 0x1000, W_MODE LAYOUT=dense8, W_ZERO 0
    set REC_ADDR 0x1240, ACC_MODE BIAS=1    ; 0x1000 + 576
    set REQUANT MODE=float
    wait 0 1
    wait 1 1
    run CONV
    signal 2
    end
.endlist
