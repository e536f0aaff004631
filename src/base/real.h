/*
 * The number type of everything that computes. The library is built with
 * float; the test library moh_f64 builds the same sources with double, so
 * that gradients can be checked by central differences.
 */
#ifndef MOH_BASE_REAL_H
#define MOH_BASE_REAL_H

#include <math.h>

#ifdef MOH_REAL_DOUBLE
typedef double real;
#define moh__sqrt sqrt
#define moh__exp exp
#define moh__log log
#define moh__fabs fabs
#define moh__floor floor
#define moh__tanh tanh
#else
typedef float real;
#define moh__sqrt sqrtf
#define moh__exp expf
#define moh__log logf
#define moh__fabs fabsf
#define moh__floor floorf
#define moh__tanh tanhf
#endif

#endif
