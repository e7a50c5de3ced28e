// Spreads heat from the left edge of a plate. Its size and its number of steps are set by flags:
//     -O3 -march=native -DSIZE=512 -DSTEPS=2000
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef SIZE
#define SIZE 128
#endif
#ifndef STEPS
#define STEPS 500
#endif

static double plate[2][SIZE][SIZE];

int main(void) {
    for (int row = 0; row < SIZE; row++) {
        plate[0][row][0] = plate[1][row][0] = 100.0;
    }
    for (int step = 0; step < STEPS; step++) {
        double(*from)[SIZE] = plate[step % 2], (*to)[SIZE] = plate[(step + 1) % 2];
#pragma omp parallel for
        for (int row = 1; row < SIZE - 1; row++) {
            for (int column = 1; column < SIZE - 1; column++) {
                to[row][column] = 0.25 * (from[row - 1][column] + from[row + 1][column] +
                                          from[row][column - 1] + from[row][column + 1]);
            }
        }
    }
    double sum = 0.0;
    for (int row = 0; row < SIZE; row++) {
        for (int column = 0; column < SIZE; column++) {
            sum += plate[STEPS % 2][row][column];
        }
    }
    printf("Plate: %d x %d, %d steps, %d threads\n", SIZE, SIZE, STEPS, omp_get_max_threads());
    printf("Mean temperature: %.4f\n", sum / SIZE / SIZE);
    return 0;
}
