/* A stand-in for CUDA 13 on a machine without a GPU: memory is the host's, kernels do nothing.

   It lets the real CUDA provider of ONNX Runtime open sessions, place nodes, capture graphs and copy,
   so that gpu_dry_run.py sees which calls it makes, on which threads and in which order. No result that
   it computes means anything. Built once for each library, with LIBRARY_<name> defined; what is not
   here gets a function that returns 0. Calls worth knowing go to the file $STAND_IN_LOG, one a line:
   thread, name, two numbers. */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int something;

#ifdef LIBRARY_cudart
#include <cuda_runtime_api.h>

static _Atomic int capturing;
static _Atomic uintptr_t last_handle = 0x1000;
#define HANDLE(where) (*(uintptr_t *)(where) = (last_handle += 16))

static void note(const char *name, long first, long second) {
    static FILE *log;
    if (!log) {
        log = fopen(getenv("STAND_IN_LOG"), "a");
        setvbuf(log, NULL, _IOLBF, 0);
    }
    fprintf(log, "%ld %s%s %ld %ld\n", (long)syscall(SYS_gettid), name,
            capturing ? ":capturing" : "", first, second);
}

static void *pages(size_t size) {
    void *found = aligned_alloc(4096, (size + 8191) & ~(size_t)4095);
    memset(found, 0, size);
    return found;
}

/* the device: one of Hopper's kind */
cudaError_t cudaGetDeviceCount(int *n) { *n = 1; return 0; }
cudaError_t cudaGetDevice(int *n) { *n = 0; return 0; }
cudaError_t cudaDriverGetVersion(int *v) { *v = 13000; return 0; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = 13000; return 0; }
cudaError_t cudaMemGetInfo(size_t *a, size_t *b) { *a = *b = (size_t)1 << 36; return 0; }
const char *cudaGetErrorString(cudaError_t e) { return "stand-in"; }
const char *cudaGetErrorName(cudaError_t e) { return "stand-in"; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "stand-in");
    p->major = 9;
    p->multiProcessorCount = 132;
    p->totalGlobalMem = (size_t)1 << 36;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = 232448;
    p->sharedMemPerMultiprocessor = 233472;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    return 0;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int device) {
    switch (which) {
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 232448; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    default: *value = 1;
    }
    return 0;
}

/* memory */
cudaError_t cudaMalloc(void **p, size_t n) { note("malloc", n, 0); *p = pages(n); return 0; }
cudaError_t cudaFree(void *p) { note("free", 0, 0); free(p); return 0; }
cudaError_t cudaMallocHost(void **p, size_t n) { *p = pages(n); return 0; }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned f) { *p = pages(n); return 0; }
cudaError_t cudaFreeHost(void *p) { free(p); return 0; }
cudaError_t cudaHostRegister(void *p, size_t n, unsigned f) { note("pin", n, f); return 0; }
cudaError_t cudaHostUnregister(void *p) { note("unpin", 0, 0); return 0; }
cudaError_t cudaMemset(void *p, int v, size_t n) { memset(p, v, n); return 0; }
cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s) { memset(p, v, n); return 0; }

cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
    note("copy", kind, n);
    memmove(to, from, n);
    return 0;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind,
                            cudaStream_t s) {
    note("copy-async", kind, n);
    memmove(to, from, n);
    return 0;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
    memset(a, 0, sizeof *a);
    a->type = cudaMemoryTypeDevice;
    return 0;
}

/* streams, events, graphs */
cudaError_t cudaStreamCreate(cudaStream_t *s) { note("stream", HANDLE(s), 0); return 0; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned f) {
    note("stream", HANDLE(s), f);
    return 0;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) { note("wait", (long)s, 0); return 0; }
cudaError_t cudaEventCreate(cudaEvent_t *e) { HANDLE(e); return 0; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned f) { HANDLE(e); return 0; }
cudaError_t cudaEventElapsedTime(float *t, cudaEvent_t a, cudaEvent_t b) { *t = 1; return 0; }
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *c) {
    *c = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return 0;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
    note("begin-capture", (long)s, mode);
    capturing = 1;
    return 0;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
    capturing = 0;
    note("end-capture", (long)s, HANDLE(g));
    return 0;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long f) {
    note("instantiate", HANDLE(e), 0);
    return 0;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
    note("replay", (long)e, (long)s);
    return 0;
}

/* kernels */
static cudaError_t kernel(void) { note("kernel", 0, 0); return 0; }
cudaError_t cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t n, cudaStream_t s) {
    return kernel();
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **a) {
    return kernel();
}
cudaError_t __cudaLaunchKernel(void *f, dim3 g, dim3 b, void **a, size_t n, void *s) {
    return kernel();
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
    memset(a, 0, sizeof *a);
    a->maxThreadsPerBlock = 1024;
    a->numRegs = 32;
    return 0;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int b,
                                                                   size_t s, unsigned g) {
    *n = 2;
    return 0;
}
void **__cudaRegisterFatBinary(void *binary) { static void *one; return &one; }
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t n, void *s) { return 0; }
cudaError_t __cudaPopCallConfiguration(dim3 *g, dim3 *b, size_t *n, void *s) {
    *g = *b = (dim3){1, 1, 1};
    *n = 0;
    *(void **)s = NULL;
    return 0;
}
cudaError_t __cudaGetKernel(void **k, const void *f) { *k = (void *)f; return 0; }
#endif

#ifdef LIBRARY_cublas
int cublasCreate_v2(void **handle) { *handle = &something; return 0; }
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
const char *cublasGetStatusName(int status) { return "stand-in"; }
const char *cublasGetStatusString(int status) { return "stand-in"; }
#endif

#ifdef LIBRARY_cublasLt
int cublasLtCreate(void **handle) { *handle = &something; return 0; }
int cublasLtMatmulDescCreate(void **made, int a, int b) { *made = &something; return 0; }
int cublasLtMatrixLayoutCreate(void **made, int a, uint64_t b, uint64_t c, int64_t d) {
    *made = &something;
    return 0;
}
int cublasLtMatmulPreferenceCreate(void **made) { *made = &something; return 0; }
int cublasLtMatrixTransformDescCreate(void **made, int a) { *made = &something; return 0; }
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *d, void *a, void *b, void *c, void *e,
                                   void *preference, int wanted, void *results, int *found) {
    memset(results, 0, 64);
    *found = 1;
    return 0;
}
#endif

#ifdef LIBRARY_cudnn
int cudnnCreate(void **handle) { *handle = &something; return 0; }
size_t cudnnGetVersion(void) { return 92000; }
const char *cudnnGetErrorString(int status) { return "stand-in"; }
#endif

#ifdef LIBRARY_cuda
int cuInit(unsigned flags) { return something; }
#endif
