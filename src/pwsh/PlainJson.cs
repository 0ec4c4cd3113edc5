using System;
using System.Collections;
using System.Collections.Specialized;
using System.Globalization;
using System.Management.Automation;
using System.Numerics;
using System.Text.Json;

namespace SecretBridge;

/// <summary>
/// JSON, read and written. Strings stay strings, whatever they look like. As plain objects (the protocol's): an object is an
/// OrderedDictionary with case-sensitive keys, a list an object[], a number an int, long or double. As tables (people's): an object
/// is a Hashtable whose keys are found without case, a whole number a long, or a BigInteger where it is too large for one.
/// </summary>
public static class PlainJson
{
    private static readonly JsonDocumentOptions Lenient = new() { MaxDepth = 100, AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip };

    /// <summary>A fresh object.</summary>
    public static OrderedDictionary NewObject() => new(StringComparer.Ordinal);

    /// <summary>An element as a plain object.</summary>
    public static object? Read(JsonElement element) => Read(element, false);

    /// <summary>A text as a plain object.</summary>
    public static object? Parse(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text);
        return Read(document.RootElement, false);
    }

    /// <summary>A text of people's as tables; throws where it is not JSON.</summary>
    public static object? ParseTables(string text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text, Lenient);
            return Read(document.RootElement, true);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // The second: a text that holds a lone surrogate.
            throw new Pode.BadBodyException("the body is not valid JSON");
        }
    }

    private static object? Read(JsonElement element, bool tables)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                return tables ? ReadTable(element) : ReadObject(element);
            case JsonValueKind.Array:
                object?[] list = new object?[element.GetArrayLength()];
                int at = 0;
                foreach (JsonElement item in element.EnumerateArray())
                {
                    list[at++] = Read(item, tables);
                }
                return list;
            case JsonValueKind.String:
                return element.GetString();
            case JsonValueKind.Number:
                return ReadNumber(element, tables);
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            default:
                return null;
        }
    }

    private static OrderedDictionary ReadObject(JsonElement element)
    {
        OrderedDictionary read = NewObject();
        foreach (JsonProperty member in element.EnumerateObject())
        {
            read[member.Name] = Read(member.Value, false);
        }
        return read;
    }

    // An object with two keys that differ in case alone is a table with case. It is copied once at most, however many are alike.
    private static Hashtable ReadTable(JsonElement element)
    {
        Hashtable table = Values.NewTable();
        bool exact = false;
        foreach (JsonProperty member in element.EnumerateObject())
        {
            if (!exact && table.ContainsKey(member.Name))
            {
                table = new Hashtable(table, StringComparer.Ordinal);
                exact = true;
            }
            table[member.Name] = Read(member.Value, true);
        }
        return table;
    }

    private static object ReadNumber(JsonElement element, bool tables)
    {
        if (!tables && element.TryGetInt32(out int small))
        {
            return small;
        }
        if (element.TryGetInt64(out long large))
        {
            return large;
        }
        bool whole = tables && element.GetRawText().IndexOfAny(['.', 'e', 'E']) < 0;
        return whole ? BigInteger.Parse(element.GetRawText(), CultureInfo.InvariantCulture) : element.GetDouble();
    }

    /// <summary>Writes a plain object. A value of another type goes as its text.</summary>
    public static void Write(Utf8JsonWriter writer, object? value)
    {
        switch (Bare(value))
        {
            case null:
                writer.WriteNullValue();
                break;
            case string text:
                writer.WriteStringValue(text);
                break;
            case IDictionary members:
                writer.WriteStartObject();
                foreach (DictionaryEntry entry in members)
                {
                    writer.WritePropertyName(Text(entry.Key));
                    Write(writer, entry.Value);
                }
                writer.WriteEndObject();
                break;
            case bool flag:
                writer.WriteBooleanValue(flag);
                break;
            case int number:
                writer.WriteNumberValue(number);
                break;
            case long number:
                writer.WriteNumberValue(number);
                break;
            case double number:
                writer.WriteNumberValue(number);
                break;
            case IEnumerable items:
                writer.WriteStartArray();
                foreach (object? item in items)
                {
                    Write(writer, item);
                }
                writer.WriteEndArray();
                break;
            case object other:
                writer.WriteStringValue(Text(other));
                break;
        }
    }

    /// <summary>What PowerShell may have wrapped.</summary>
    public static object? Bare(object? value) =>
        value is PSObject { BaseObject: not PSCustomObject } wrapped ? wrapped.BaseObject : value;

    /// <summary>A value's type, as `GetType()` gives it in PowerShell.</summary>
    public static Type? TypeOf(object? value) => (value is PSObject wrapped ? wrapped.BaseObject : value)?.GetType();

    /// <summary>A value's text, as PowerShell gives it.</summary>
    public static string Text(object? value) => value as string ?? LanguagePrimitives.ConvertTo<string>(value) ?? "";
}
