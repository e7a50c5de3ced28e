// Approximates pi with the midpoint rule, on as many threads as the job has cores, and leaves the
// result as a file to download.
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    const long steps = 200000000;
    const double width = 1.0 / steps;
    double sum = 0.0;

#pragma omp parallel for reduction(+ : sum)
    for (long i = 0; i < steps; i++) {
        double x = (i + 0.5) * width;
        sum += 4.0 / (1.0 + x * x);
    }

    const double pi = sum * width;
    printf("Threads: %d\n", omp_get_max_threads());
    printf("Pi: %.12f\n", pi);

    const char *directory = getenv("OUTPUT_DIR");
    if (directory != NULL) {
        char path[4096];
        snprintf(path, sizeof path, "%s/pi.txt", directory);
        FILE *file = fopen(path, "w");
        if (file == NULL) {
            perror("pi.txt");
            return 1;
        }
        fprintf(file, "%.12f\n", pi);
        fclose(file);
    }
    return fabs(pi - 3.141592653589793) < 1e-9 ? 0 : 1;
}
