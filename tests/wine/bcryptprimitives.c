/* Wine 8, which Debian 12 has, lacks this library, and Rust's standard library takes its random numbers
   from it. Its one function is passed on to the older one that does the same. For tests under Wine only. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
