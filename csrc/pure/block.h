/* Memory for the large arrays, which grow: like malloc, realloc and free, but that growing a large block never copies it.
 *
 * An allocator may move a block of many megabytes by copying when it grows, which stalls one insertion for milliseconds
 * (glibc does so once a large block was freed in the process). From SV_BLOCK_LARGE on, where the system can remap pages, a
 * block is a mapping of its own and grows by remapping. A block begins 64 bytes into its memory, behind its head.
 */
#ifndef SV_BLOCK_H
#define SV_BLOCK_H

#include "base.h"

#define SV_BLOCK_LARGE ((size_t)1 << 17)

/* Make the block (NULL: none yet) so large; what it held stays, what is new holds anything. NULL without memory: then
 * nothing changed. */
void *sv_block_resize(void *block, size_t size);

/* A block of zeros, or NULL. */
void *sv_block_zeroed(size_t size);

void sv_block_free(void *block);

#endif
